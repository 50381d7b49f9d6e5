"""An engine without a model, for tests and dry runs of whole loops: what it says is a function of
the request.

Completions are drawn from a short script by the request's seed. A word of a continuation is more
probable where the context has it, so that a conversation that brings out the persona's facts scores
better than one that does not.
"""

import random
from collections.abc import Sequence

from stargate_assets.language_model import ChatRequest, Completion, Results, Score, ScoreRequest

UTTERANCES = (
    "What do you do for a living?",
    "Who do you live with at home?",
    "What do you like to eat, and is there anything that you must avoid?",
    "How much money would you like to spend?",
    "What are you learning at the moment?",
    "Here is a plan that suits everybody.",
    "That sounds nice.",
)
KNOWN, UNKNOWN = -0.5, -3.0
"""log p of a word that the context has, and of one that it has not, in nats."""


class ScriptedEngine:
    def chat(self, requests: Sequence[ChatRequest]) -> Results[Completion]:
        for index, request in enumerate(requests):
            context = sum(len(message.content.split()) for message in request.messages)
            choice = random.Random(request.seed).choice(UTTERANCES)
            text = choice if request.sampling.temperature else UTTERANCES[-2]
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
