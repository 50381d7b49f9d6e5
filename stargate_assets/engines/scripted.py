"""An engine without a model, for tests and dry runs of whole loops: what it says is a function of
the request.

Completions are drawn from a short script by the request's seed; who has so far written personas,
with a name on the first line, writes another, and who has written a task with its kind writes ten.
A word of a continuation is more probable where the context has it, so that a conversation that
brings out the persona's facts scores better than one that does not.
"""

import random
import re
from collections.abc import Sequence

from stargate_assets.engines.engine import Checkpoint, Opening
from stargate_assets.method.language_model import (
    ChatRequest,
    Completion,
    Results,
    Score,
    ScoreRequest,
)

UTTERANCES = (
    "What do you do for a living?",
    "Who do you live with at home?",
    "What do you like to eat, and is there anything that you must avoid?",
    "How much money would you like to spend?",
    "What are you learning at the moment?",
    "Here is a plan that suits everybody.",
    "That sounds nice.",
)
_SHOWN_TASK = re.compile("(specific|general): ")
LETTERS = "abcdefghijklmnopqrstuvwxyz"
KNOWN, UNKNOWN = -0.5, -3.0
"""log p of a word that the context has, and of one that it has not, in nats."""


def open_engine(opening: Opening) -> "ScriptedEngine":
    """There is nothing to load."""
    del opening
    return ScriptedEngine()


class ScriptedEngine:
    def use(self, checkpoint: Checkpoint | None) -> None:
        """Every policy says the same."""

    def close(self) -> None:
        """Nothing is held."""

    def chat(self, requests: Sequence[ChatRequest]) -> Results[Completion]:
        for index, request in enumerate(requests):
            context = sum(len(message.content.split()) for message in request.messages)
            draw = random.Random(request.seed)
            if request.messages[1:] and request.messages[-2].content.startswith("Name:"):
                text = _persona(draw)
            elif request.messages[1:] and _SHOWN_TASK.match(request.messages[-2].content):
                text = _tasks(draw)
            else:
                text = draw.choice(UTTERANCES) if request.sampling.temperature else UTTERANCES[-2]
            yield index, Completion(text, "stop", context, len(text.split()))

    def score(self, requests: Sequence[ScoreRequest]) -> Results[Score]:
        for index, request in enumerate(requests):
            context = [w for m in request.messages for w in m.content.casefold().split()]
            known = set(context)
            log_probs = tuple(
                KNOWN if word in known else UNKNOWN
                for word in request.continuation.casefold().split()
            )
            yield index, Score(log_probs, len(context))


def _persona(draw: random.Random) -> str:
    """Somebody whose name and facts nobody else is likely to have."""
    name, *facts = ("".join(draw.choices(LETTERS, k=8)) for _ in range(5))
    return f"Name: {name.title()}\n" + " ".join(f"I am fond of {fact}." for fact in facts)


def _tasks(draw: random.Random) -> str:
    """Ten tasks that nobody else is likely to have, of both kinds."""
    kinds = ("specific", "general")
    return "\n".join(
        f"{kinds[n % 2]}: {' '.join(''.join(draw.choices(LETTERS, k=8)) for _ in range(3))}?"
        for n in range(10)
    )
