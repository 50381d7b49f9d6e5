"""A child process ends when its parent does, whatever ends the parent."""

import os
import threading
from collections.abc import Callable

SECONDS_BETWEEN_LOOKS = 1.0


def watch_parent(parent_ended: Callable[[], None]) -> None:
    """Call `parent_ended`, from a thread of its own, once this process has another parent.

    Not PR_SET_PDEATHSIG: that signal also comes when only the thread that started the child ends.
    """
    parent = os.getppid()

    def watch() -> None:
        woken = threading.Event()
        while os.getppid() == parent:
            woken.wait(SECONDS_BETWEEN_LOOKS)
        parent_ended()

    threading.Thread(target=watch, daemon=True).start()
