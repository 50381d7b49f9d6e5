"""People, talk and a model for the tests of the method."""

import math
import re
from collections.abc import Sequence

from stargate_assets.engines.scripted import ScriptedEngine
from stargate_assets.method.conversation import Conversation, Pair, Persona, Task
from stargate_assets.method.keys import text_id
from stargate_assets.method.language_model import (
    ChatRequest,
    Completion,
    Message,
    Score,
    ScoreRequest,
)

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


def pair(
    task: str = "What should I cook?",
    name: str = "Ada",
    persona: str = BAKER,
    options: tuple[str, ...] = (),
) -> Pair:
    asked = Task(text_id(task), task, options=options)
    return Pair(asked, Persona(text_id(name, persona), name, persona))


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
        conversation = conversation.with_question(question, truncated=False).with_answer(answer)
    return conversation


class Answerer(ScriptedModel):
    """Answers as well as `skill` says, and better by `hearing` after a conversation that brought
    out a fact.
    """

    def __init__(self, skill: float = 0.0, hearing: float = 0.0) -> None:
        super().__init__()
        self.skill, self.hearing = skill, hearing

    def chat(self, requests: Sequence[ChatRequest], doing: str) -> list[Completion]:
        self.chats.append(list(requests))
        return [Completion(answer_worth(self._worth(r)), "stop", 9, 3) for r in requests]

    def _worth(self, request: ChatRequest) -> float:
        heard = any("fact" in message.content for message in request.messages)
        return self.skill + self.hearing * heard


def answer_worth(value: float) -> str:
    """A response that says itself how good it is."""
    return f"This is worth {value:.6f} points."


class WorthJudge(ScriptedModel):
    """Prefers the response that is worth more, and what stands first by `for_first`: by
    log-probability of the letters, or in words.
    """

    def __init__(self, for_first: float = 0.0) -> None:
        super().__init__()
        self.for_first = for_first

    def _log_odds_of_a(self, messages: Sequence[Message]) -> float:
        a, b = map(float, re.findall(r"worth (-?[\d.]+) points", messages[0].content))
        return a - b + self.for_first

    def score(self, requests: Sequence[ScoreRequest], doing: str) -> list[Score]:
        self.scored.append(list(requests))
        sign = {"A": 1, "B": -1}
        return [
            Score(
                (-math.log1p(math.exp(-sign[r.continuation] * self._log_odds_of_a(r.messages))),), 9
            )
            for r in requests
        ]

    def chat(self, requests: Sequence[ChatRequest], doing: str) -> list[Completion]:
        self.chats.append(list(requests))
        return [
            Completion(
                f"One is better.\nVerdict: {'A' if self._log_odds_of_a(r.messages) > 0 else 'B'}",
                "stop",
                9,
                9,
            )
            for r in requests
        ]
