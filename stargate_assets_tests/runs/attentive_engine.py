"""A scripted policy that uses what it has heard in a known share of its answers, and then every
fact; the other answers suit everybody.
"""

import random
import re
from collections.abc import Sequence

from stargate_assets.engines.engine import Opening
from stargate_assets.engines.scripted import ScriptedEngine
from stargate_assets.method.language_model import ChatRequest, Completion, Results

SHARE = 0.6
FACT = re.compile(r"\bfact\d+\b")


def open_engine(opening: Opening) -> "AttentiveEngine":
    del opening
    return AttentiveEngine()


class AttentiveEngine(ScriptedEngine):
    def chat(self, requests: Sequence[ChatRequest]) -> Results[Completion]:
        for index, completion in super().chat(requests):
            request = requests[index]
            facts = FACT.findall(" ".join(m.content for m in request.messages))
            answers = request.sampling.temperature == 0
            if answers and facts and random.Random(repr(request.messages)).random() < SHARE:
                text = f"Here is a plan around {' and '.join(facts)} then."
                yield index, Completion(text, "stop", completion.prompt_tokens, len(text.split()))
            else:
                yield index, completion
