"""Ctrl-C and SIGTERM: which of them has come. Dagster takes both handlers, calls them alike, and
forgets one that comes between two steps.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from signal import Signals

ENDING = (Signals.SIGINT, Signals.SIGTERM)
EXIT_CODE_OF_A_SIGNAL = 128
"""Added to the signal's number, as shells do."""
_readers = list[int]()
"""Where the interpreter writes the number of each signal, whoever handles it."""
_came = list[Signals]()


@contextmanager
def notice_signals() -> Iterator[None]:
    """Within it, SIGTERM interrupts as Ctrl-C does, and `ending_signal` says which has come."""
    reader, writer = os.pipe()
    for end in (reader, writer):
        os.set_blocking(end, False)
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    handler = signal.signal(Signals.SIGTERM, signal.default_int_handler)
    _readers.append(reader)
    _came.clear()
    try:
        yield
    finally:
        _readers.pop()
        signal.signal(Signals.SIGTERM, handler)
        signal.set_wakeup_fd(before)
        os.close(reader)
        os.close(writer)


def ending_signal() -> Signals | None:
    """The first that has come; None if none has."""
    if _readers:
        with suppress(BlockingIOError):
            _came.extend(Signals(n) for n in os.read(_readers[-1], 4096) if n in ENDING)
    return _came[0] if _came else None
