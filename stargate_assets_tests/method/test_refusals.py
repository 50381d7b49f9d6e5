"""What a content filter stops is counted, whatever else is wrong with it."""

from dataclasses import replace

import pytest

from stargate_assets.method.conversation import Persona
from stargate_assets.method.gold_responses import Exclusion, gold_response
from stargate_assets.method.language_model import ChatRequest, Completion, Sampling
from stargate_assets.method.personas import Refusal, generate_personas
from stargate_assets.method.prompts import SHIPPED
from stargate_assets_tests.method.people import BAKER, ScriptedModel

REFUSED = Completion("", "refused", 3, 0)


@pytest.mark.parametrize("text", ["", "Ada, eat figs."])
def test_a_refused_gold_response_is_excluded(text: str) -> None:
    assert gold_response(replace(REFUSED, text=text))[1] is Exclusion.REFUSED


class Filtered(ScriptedModel):
    def chat(self, requests: list[ChatRequest], doing: str) -> list[Completion]:
        return [REFUSED for _ in requests]


def test_a_refused_persona_is_counted_at_every_attempt() -> None:
    examples = [Persona(name, name, BAKER) for name in ("Ada", "Bo")]
    made = generate_personas(
        Filtered(),
        examples,
        [],
        {"test": 2},
        seed=0,
        attempts=3,
        sampling=Sampling(9),
        prompts=SHIPPED,
    )
    assert made.personas == {"test": []}
    assert [reason for *_, reason in made.refusals] == [Refusal.REFUSED] * 6
