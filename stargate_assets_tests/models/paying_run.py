"""A run of its own process that pays for what it asks: `python -m ... FIRST LAST PAUSE`.

It asks the requests FIRST to LAST, in the project's directory, and says on its standard output what
it does: `waiting` for another run's dollars, `paused` before it asks the request PAUSE, which it
never does, and at the end, as JSON, what it has asked and paid, and why it stopped.
"""

import json
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from stargate_assets.config.machine import Price
from stargate_assets.engines.scripted import ScriptedEngine
from stargate_assets.method.language_model import (
    ChatRequest,
    Completion,
    Message,
    Results,
    Sampling,
)
from stargate_assets.models.pool import ModelPool
from stargate_assets.models.stored import SpendingError, StoredModel
from stargate_assets.storage.completions import Use

PRICE = Price(model="m", prompt=0, completion=10_000, as_of=date(2024, 1, 1))
"""A cent for each token that is written."""
TOKENS = 20
"""No answer of the script is longer."""


def requests(first: int, last: int) -> list[ChatRequest]:
    sampling = Sampling(TOKENS, 1.0)
    return [ChatRequest((Message("user", "?"),), sampling, seed) for seed in range(first, last)]


class Paused(ScriptedEngine):
    """Notes the seeds that it is asked, and stops for ever before one of them."""

    def __init__(self, pause: int):
        self.pause, self.asked = pause, list[int]()

    def chat(self, requests: Sequence[ChatRequest]) -> Results[Completion]:
        for request, result in zip(requests, super().chat(requests), strict=True):
            if request.seed == self.pause:
                tell("paused")
                sys.stdin.read()
            self.asked.append(request.seed)
            yield result


def tell(what: str) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


def tell_of_waiting(doing: str, done: int, total: int) -> None:
    if doing.startswith("waiting") and not done:
        tell("waiting")


def main(first: int, last: int, pause: int) -> None:
    engine, use = Paused(pause), Use("any", f"{first}", "anyone")
    store = ModelPool(Path("warehouse")).store()
    model = StoredModel("m", store, lambda: engine, tell_of_waiting, use, "m", PRICE)
    tell("ready")
    sys.stdin.readline()
    said = ""
    try:
        model.chat(requests(first, last), "asking")
    except SpendingError as error:
        said = str(error)
    tell(json.dumps({"asked": engine.asked, "dollars": model.usage.dollars, "said": said}))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
