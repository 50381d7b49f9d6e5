"""An engine that says what the scripted one says, and that ends its process, or the node that it is
on, in the middle of a call.

Its model is a directory. A file `CALL.process` or `CALL.node` there, where CALL is `sampled`,
`greedy` or `score`, is deleted by the first replica to come to the second such result of a chunk,
or to its only one, which is the last thing that it does.
"""

import os
import signal
from collections.abc import Sequence
from pathlib import Path

from stargate_assets.engines.engine import Opening
from stargate_assets.engines.scripted import ScriptedEngine
from stargate_assets.method.language_model import (
    ChatRequest,
    Completion,
    EngineError,
    Results,
    Score,
    ScoreRequest,
)

REFUSED, BROKEN = "refuse me", "break"


def open_engine(opening: Opening) -> "MortalEngine":
    return MortalEngine(Path(opening.path))


class MortalEngine(ScriptedEngine):
    def __init__(self, fates: Path):
        self.fates = fates

    def chat(self, requests: Sequence[ChatRequest]) -> Results[Completion]:
        for index, completion in super().chat(requests):
            request = requests[index]
            if index or len(requests) == 1:
                self._meet_fate("sampled" if request.sampling.temperature else "greedy")
            if request.messages[-1].content == REFUSED:
                raise EngineError("This is refused; ask for something else.")
            if request.messages[-1].content == BROKEN:
                raise ZeroDivisionError("broken")
            yield index, completion

    def score(self, requests: Sequence[ScoreRequest]) -> Results[Score]:
        for index, score in super().score(requests):
            if index or len(requests) == 1:
                self._meet_fate("score")
            yield index, score

    def _meet_fate(self, call: str) -> None:
        for what, process in (("process", os.getpid()), ("node", os.getppid())):
            try:
                (self.fates / f"{call}.{what}").unlink()
            except FileNotFoundError:
                continue
            os.kill(process, signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)  # as when the power goes
