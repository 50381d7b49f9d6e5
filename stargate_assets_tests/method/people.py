"""People, talk and a model for the tests of the method."""

from collections.abc import Sequence

from stargate_assets.engines.scripted import ScriptedEngine
from stargate_assets.language_model import ChatRequest, Completion, Score, ScoreRequest
from stargate_assets.method.conversation import Conversation, Pair, Persona, Task
from stargate_assets.method.keys import text_id

BAKER = "I bake bread at night. I cannot eat peanuts because my throat swells. I owe money to Bo."


class ScriptedModel:
    """The scripted engine as the method sees a model; it remembers what it was asked."""

    def __init__(self) -> None:
        self.chats: list[list[ChatRequest]] = []
        self.scored: list[list[ScoreRequest]] = []

    def chat(self, requests: Sequence[ChatRequest], doing: str) -> list[Completion]:
        self.chats.append(list(requests))
        return [completion for _, completion in ScriptedEngine().chat(requests)]

    def score(self, requests: Sequence[ScoreRequest], doing: str) -> list[Score]:
        self.scored.append(list(requests))
        return [score for _, score in ScriptedEngine().score(requests)]


def pair(task: str = "What should I cook?", name: str = "Ada", persona: str = BAKER) -> Pair:
    return Pair(Task(text_id(task), task), Persona(text_id(name, persona), name, persona))


def grid(tasks: int, personas: int) -> list[Pair]:
    """Every task with every persona."""
    return [
        pair(f"Help with matter {t}?", f"Person{p}", f"I own boat {p}. I like colour {p}.")
        for t in range(tasks)
        for p in range(personas)
    ]


def talk(*turns: tuple[str, str], of: Pair | None = None, sample: int = 0) -> Conversation:
    """A conversation of (question, answer) turns, none of them truncated."""
    conversation = Conversation(of or pair(), sample)
    for question, answer in turns:
        conversation = conversation.asked(question, truncated=False).answered(answer)
    return conversation
