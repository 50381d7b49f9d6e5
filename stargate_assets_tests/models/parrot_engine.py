"""An engine from outside the package: it says what it is asked, and the name of its adapter."""

from collections.abc import Sequence

from stargate_assets.engines.engine import Checkpoint, Opening
from stargate_assets.method.language_model import (
    ChatRequest,
    Completion,
    Results,
    Score,
    ScoreRequest,
)


def open_engine(opening: Opening) -> "ParrotEngine":
    return ParrotEngine(opening.path)


class ParrotEngine:
    def __init__(self, path: str):
        self.path, self.voice, self.closed = path, path, False

    def chat(self, requests: Sequence[ChatRequest]) -> Results[Completion]:
        for index, request in enumerate(requests):
            text = f"{self.voice}: {request.messages[-1].content}"
            yield index, Completion(text, "stop", 1, 1)

    def score(self, requests: Sequence[ScoreRequest]) -> Results[Score]:
        for index, request in enumerate(requests):
            yield index, Score((-1.0,) * len(request.continuation.split()), 1)

    def use(self, checkpoint: Checkpoint | None) -> None:
        self.voice = self.path if checkpoint is None else checkpoint.path.name

    def close(self) -> None:
        self.closed = True
