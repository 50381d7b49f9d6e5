"""What one process of a project does at a time. A claim ends with its process, whatever ends it."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from stargate_assets.storage.disk import writing

CLAIMS = "claims"
_SECONDS_OF_A_WAIT = 0.1


@contextmanager
def claim(directory: Path, name: str, places: int = 1) -> Iterator[int | None]:
    """Claim one of the places that there are for `name` in a project, whose warehouse is in
    `directory`. Yields None, or where all are taken the id of a process that has one.
    """
    with ExitStack() as stack:
        holder: int | None = None
        for number in range(places):
            with writing(directory):
                holder = _take(directory / CLAIMS / f"{name}.{number}", stack)
            if holder is None:
                break
        yield holder


def ignore(holder: int) -> None:
    del holder


@contextmanager
def turn(directory: Path, name: str, tell: Callable[[int], None] = ignore) -> Iterator[None]:
    """Wait for the one place that there is for `name`; `tell` is called once, with who has it."""
    told = False
    while True:
        with claim(directory, name) as holder:
            if holder is None:
                yield
                return
        if not told:
            tell(holder)
        told = True
        time.sleep(_SECONDS_OF_A_WAIT)


def _take(file: Path, stack: ExitStack) -> int | None:
    """Lock a file, and write this process's id into it; returns whose is there if that has the
    lock. Locks are of an open file, so Linux ends them with who has opened it.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    opened = stack.enter_context(file.open("a+"))
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        opened.seek(0)
        return int(opened.read() or 0)
    opened.truncate(0)
    opened.write(str(os.getpid()))
    opened.flush()
    return None
