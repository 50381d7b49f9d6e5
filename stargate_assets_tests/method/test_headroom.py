"""What gold responses leave to win, and what is warned of."""

import pytest

from stargate_assets.method.headroom import (
    GoldSummary,
    Headroom,
    headroom_warnings,
    is_refusal,
    measure_headroom,
    near_copies,
    summarise_gold,
)
from stargate_assets.method.language_model import Score, ScoreRequest
from stargate_assets.method.prompts import SHIPPED
from stargate_assets_tests.method.people import ScriptedModel, grid, pair

PAIRS = grid(tasks=1, personas=3)
OWN = {p.key: f"{p.persona.name}, {p.persona.text} So take it slowly." for p in PAIRS}
GENERIC = {p.key: f"{p.persona.name}, make a plan and then take it slowly." for p in PAIRS}


class Knowing(ScriptedModel):
    """Finds two of four tokens a nat more probable after the persona."""

    def score(self, requests: list[ScoreRequest], doing: str) -> list[Score]:
        return [
            Score((-1.0, -1.0, -2.0, -2.0) if "I own boat" in r.messages[-1].content
                  else (-2.0, -2.0, -2.0, -1.8), 9)
            for r in requests
        ]  # fmt: skip


def test_gain_and_share_are_by_token() -> None:
    measured = measure_headroom(Knowing(), PAIRS, OWN, SHIPPED)
    assert [one.gain for one in measured] == [pytest.approx(0.45)] * 3
    assert [(one.share, one.tokens) for one in measured] == [(0.5, 4)] * 3


def test_generic_gold_responses_are_near_copies_and_warned_of() -> None:
    assert [(a.persona.name, b.persona.name) for a, b in near_copies(PAIRS, GENERIC)] == [
        ("Person1", "Person0"),
        ("Person2", "Person0"),
    ]
    gold = summarise_gold(PAIRS, GENERIC)
    assert gold == GoldSummary((9, 9, 9), 0, 2)
    none = [Headroom(p, 0.05, 0.1, 20) for p in PAIRS]
    low, copied = headroom_warnings(none, gold)
    assert low.startswith("The persona makes a gold response only 0.05 nats a token more probable")
    assert copied.startswith("2 of 3 gold responses say nearly the same to another person")
    assert (
        headroom_warnings([Headroom(p, 1.5, 0.4, 20) for p in PAIRS], GoldSummary((9,), 0, 0)) == []
    )


@pytest.mark.parametrize(
    ("text", "refuses"),
    [
        ("I'm sorry, Ana. I cannot help with that.", True),
        ("As an AI language model I have no view.", True),
        ("Ana, you cannot eat peanuts, so bake bread.", False),
    ],
)
def test_refusals_are_told_by_words(text: str, refuses: bool) -> None:
    assert is_refusal(text) is refuses
    assert bool(headroom_warnings([], summarise_gold([pair()], {pair().key: text}))) is refuses
