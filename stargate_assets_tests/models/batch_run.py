"""A run of its own process that asks in batches: `python -m ... URL FILE ENOUGH`.

Its completions are in FILE. It kills itself, by SIGKILL, when it has so many answers; 0 is never.
"""

import os
import signal
import sys
from pathlib import Path

from stargate_assets.storage.sqlite import SqliteFile
from stargate_assets_tests.servers.batch_endpoint import batch_model
from stargate_assets_tests.servers.faulty_chat_endpoint import requests

PROMPTS = tuple(f"question {number}" for number in range(12))


def main(url: str, file: str, enough: int) -> None:
    def on_progress(doing: str, done: int, total: int) -> None:
        del total
        if enough and doing == "asking" and done == enough:
            os.kill(os.getpid(), signal.SIGKILL)

    model = batch_model(url, SqliteFile(Path(file)), on_progress=on_progress)
    model.chat(requests(*PROMPTS), "asking")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
