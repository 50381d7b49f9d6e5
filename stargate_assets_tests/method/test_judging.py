import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_assets.method.judging import (
    Comparison,
    Judgement,
    Unscored,
    Verdict,
    as_text,
    judge,
    verdict_letter,
)
from stargate_assets.method.language_model import (
    ChatRequest,
    Completion,
    Sampling,
    Score,
    ScoreRequest,
)
from stargate_assets.method.prompts import SHIPPED
from stargate_assets_tests.method.people import (
    ScriptedModel,
    WorthJudge,
    answer_worth,
    pair,
)

METHODS = ("written", "choice", "fit")
SAMPLING = Sampling(99)
WORTH = st.integers(-3, 3)


def compare(one: float, other: float) -> Comparison:
    return Comparison(pair(), answer_worth(one), answer_worth(other))


def judged(model: ScriptedModel, method, *comparisons: Comparison) -> list[Judgement]:
    return judge(model, method, comparisons, SAMPLING, prompts=SHIPPED)


@pytest.mark.parametrize("method", METHODS)
def test_what_needs_no_judge_costs_no_call(method: str) -> None:
    model = ScriptedModel()
    found = judged(
        model,
        method,
        Comparison(pair(), " \n", "Eat figs."),
        Comparison(pair(), "Eat figs.", ""),
        Comparison(pair(), "", " "),
        Comparison(pair(), None, "Eat figs."),
        Comparison(pair(), "", None),
    )
    assert [j.verdict for j in found] == [Verdict.LOSS, Verdict.WIN, Verdict.TIE, None, None]
    assert [j.unscored for j in found] == [None, None, None, *[Unscored.REFUSED] * 2]
    assert not any(batch for batch in (*model.chats, *model.scored))


@given(st.lists(st.tuples(WORTH, WORTH)), st.floats(-9, 9))
def test_a_constant_preference_for_a_place_leaves_choices_as_they_are(
    worths: list[tuple[int, int]], for_first: float
) -> None:
    comparisons = [compare(*worth) for worth in worths]
    fair = judged(WorthJudge(), "choice", *comparisons)
    biased = judged(WorthJudge(for_first), "choice", *comparisons)
    for (one, other), j, b in zip(worths, fair, biased, strict=True):
        assert b.preference == pytest.approx(one - other, abs=1e-9)
        if one != other:
            assert j.verdict == b.verdict == (Verdict.WIN if one > other else Verdict.LOSS)


def test_a_choice_keeps_what_each_order_said() -> None:
    better, worse = judged(WorthJudge(2.0), "choice", compare(3, 0), compare(0, 1))
    assert (better.first, better.second, better.verdict) == (Verdict.WIN,) * 3
    assert (worse.first, worse.second, worse.verdict) == (Verdict.WIN, Verdict.LOSS, Verdict.LOSS)
    assert worse.preference == pytest.approx(-1)


@pytest.mark.parametrize("method", ["choice", "fit"])
def test_one_call_judges_everything(method: str) -> None:
    model = WorthJudge() if method == "choice" else ScriptedModel()
    judged(model, method, compare(1, 2), compare(2, 1), compare(3, 0))
    assert [len(batch) for batch in model.scored] == [12]


def test_equal_responses_are_a_tie() -> None:
    for method in ("choice", "fit", "written"):
        (found,) = judged(
            WorthJudge(1.0) if method != "fit" else ScriptedModel(), method, compare(1, 1)
        )
        assert found.verdict is Verdict.TIE


def test_fit_prefers_what_the_persona_makes_more_probable() -> None:
    """The scripted engine finds words of its context probable, so the task's words help both."""
    about = Comparison(pair(), "bread without peanuts", "Buy something else.")
    (found,) = judged(ScriptedModel(), "fit", about)
    assert found.verdict is Verdict.WIN
    assert (found.first, found.second) == (None, None)
    (mirrored,) = judged(
        ScriptedModel(), "fit", Comparison(pair(), "Buy something else.", "bread without peanuts")
    )
    assert mirrored.preference == pytest.approx(-(found.preference or 0))


def test_for_fit_a_response_that_only_asks_is_no_answer() -> None:
    """How well a persona explains a text does not tell a question about the user from an answer."""
    only_asks, answers = "What do you eat? What else?", "Buy bread. What else do you eat?"
    model = ScriptedModel()
    found = judged(
        model,
        "fit",
        Comparison(pair(), only_asks, answers),
        Comparison(pair(), answers, only_asks),
        Comparison(pair(), only_asks, "Who are you?"),
    )
    assert [judgement.verdict for judgement in found] == [Verdict.LOSS, Verdict.WIN, Verdict.TIE]
    assert not any(model.scored)


class Constant(ScriptedModel):
    """Every continuation has the same mean, so that length alone gives no preference."""

    def score(self, requests: list[ScoreRequest], doing: str) -> list[Score]:
        return [Score((-1.0,) * len(r.continuation.split()), 3) for r in requests]


def test_fit_does_not_reward_length() -> None:
    (found,) = judged(Constant(), "fit", Comparison(pair(), "short", "a much longer response"))
    assert found.verdict is Verdict.TIE


def test_a_written_judgement_keeps_its_words() -> None:
    (found,) = judged(WorthJudge(), "written", compare(2, 1))
    assert found == Judgement(
        Verdict.WIN,
        None,
        None,
        Verdict.WIN,
        Verdict.WIN,
        "One is better.\nVerdict: A",
        "One is better.\nVerdict: B",
    )


class Saying(ScriptedModel):
    """Says what it is given, call by call."""

    def __init__(self, *calls: list[str | None]) -> None:
        super().__init__()
        self.calls = list(calls)

    def chat(self, requests: list[ChatRequest], doing: str) -> list[Completion]:
        self.chats.append(list(requests))
        if not requests:
            return []
        said = self.calls.pop(0)
        assert len(said) == len(requests)
        return [
            Completion(text or "", "stop" if text is not None else "refused", 1, 1) for text in said
        ]


def test_a_verdict_may_come_in_the_structure_that_was_asked_for() -> None:
    model = Saying([structured("A"), structured("B")])
    (found,) = judged(model, "written", compare(2, 1))
    assert found.verdict is Verdict.WIN
    assert found.comparison_first == "One is better.\nVerdict: A"
    schema = json.loads(model.chats[0][0].structure or "")
    assert set(schema["required"]) == set(schema["properties"]) == {"comparison", "verdict"}


def structured(letter: str) -> str:
    return json.dumps({"comparison": "One is better.", "verdict": letter})


@pytest.mark.parametrize("text", ["", "A", '"A"', "[]", '{"verdict": "A"}', '{"comparison', "7"])
def test_anything_else_stays_as_it_was_written(text: str) -> None:
    assert as_text(text) == text


def test_what_has_no_verdict_is_asked_for_once_more() -> None:
    model = Saying(["Both are good.", "Verdict: B"], ["Verdict: A"])
    (found,) = judged(model, "written", compare(2, 1))
    assert found.verdict is Verdict.WIN
    assert found.comparison_first == "Both are good.\n\nVerdict: A"
    again = model.chats[1][0].messages
    assert [m.role for m in again] == ["user", "assistant", "user"]
    assert again[:1] == model.chats[0][0].messages
    assert again[1].content == "Both are good."


@pytest.mark.parametrize(
    ("calls", "reason", "first"),
    [
        (([None, "Verdict: A"],), Unscored.REFUSED, None),
        ((["Verdict: A", "Hm."], [None]), Unscored.REFUSED, Verdict.WIN),
        ((["Verdict: A", "Hm."], ["Hm."]), Unscored.UNPARSED, Verdict.WIN),
        ((["Hm.", "Hm."], ["Hm.", "Verdict: A"]), Unscored.UNPARSED, None),
    ],
)
def test_what_stays_without_a_verdict_has_its_reason(calls, reason, first) -> None:
    (found,) = judged(Saying(*calls), "written", compare(2, 1))
    assert (found.verdict, found.unscored, found.first) == (None, reason, first)


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("Fine words.\nVerdict: A", "A"),
        ("Verdict: B", "B"),
        ("Fine words.\n\n**Verdict: B**\n\n", "B"),
        ("Fine words.\n## Verdict: **A**.", "A"),
        ("Verdict：A", "A"),
        ("Verdict: [A]", "A"),
        ("VERDICT: B", "B"),
        ('Verdict: "B"', "B"),
        ("", None),
        ("A", None),
        ("Verdict: C", None),
        ("Verdict: A or B", None),
        ("Verdict: A tie", None),
        ("Verdict: a tie", None),
        ("Verdict: Both", None),
        ("Verdict:", None),
        ("Verdict A", None),
        ("Verdict: A\nBut B is good too.", None),
        ("Response A is better, verdict: A", None),
        ("My verdict: A", None),
    ],
)
def test_a_verdict_is_the_last_line_and_one_letter(text: str, letter: str | None) -> None:
    assert verdict_letter(text) == letter


@given(st.text())
def test_any_text_can_be_looked_at_for_a_verdict(text: str) -> None:
    assert verdict_letter(text) in {None, "A", "B"}
    assert verdict_letter(f"{text}\nVerdict: A") == "A"
