import pytest

from stargate_assets.config.experiment import Experiment
from stargate_assets.config.model_spec import ModelSpec
from stargate_assets.method.audits import NO_OWN_TEXT, Audit
from stargate_assets.method.judging import Unscored, Verdict
from stargate_assets.method.simulation import Cell
from stargate_assets.pipeline.assets.evaluation_checks import check_trust
from stargate_assets.pipeline.assets.rows import pair_key, table_rows

MODEL = {"model": "m"}
STATED = {
    "data_set": "d",
    "questioner": MODEL,
    "roleplayers": [{"model": MODEL}],
    "judge": {"model": MODEL, "name": "oak"},
}
TWO = STATED | {"other_judges": [{"model": {"model": "n"}, "name": "elm"}]}
ROW = {
    "other_persona_id": "q",
    "preference": None,
    "unscored": None,
    "verdict_first": None,
    "verdict_second": None,
}
Counts = tuple[int, int]
"""Of wins and losses."""


def check(
    *audited: tuple[str, Audit, Counts],
    stated: dict[str, object] = STATED,
    oracle: str | None = None,
):
    rows = [
        pair_key(Cell(0, "test"), (f"t{i}", f"p{i}"))
        | {"judge": judge, "audit": audit, **ROW}
        | {"verdict": verdict, "unscored": None if verdict else Unscored.UNPARSED}
        for judge, audit, (wins, losses) in audited
        for i, verdict in enumerate([Verdict.WIN] * wins + [Verdict.LOSS] * losses + [None])
    ]
    experiment = Experiment.model_validate(stated)
    wrote = ModelSpec(model=oracle) if oracle else None
    return check_trust(table_rows("judge_audit", rows), experiment, wrote)


@pytest.mark.parametrize(
    ("counts", "doubt"),
    [
        ((8, 2), None),
        ((7, 3), r"Judge oak finds the truth, where it is known, on gold responses in 70% \("),
        ((0, 0), "oak gave no verdict where"),
    ],
)
def test_a_judge_is_trusted_from_four_in_five(counts: Counts, doubt: str | None) -> None:
    result = check(("oak", Audit.GOLD, counts))
    assert result.passed == (doubt is None)
    if doubt:
        with pytest.raises(ValueError, match=doubt):
            raise ValueError(result.description)


@pytest.mark.parametrize(
    ("gold", "own_text", "passed"), [((10, 0), (5, 5), False), ((5, 5), (9, 1), True)]
)
def test_the_harder_audit_decides_and_both_are_named(
    gold: Counts, own_text: Counts, passed: bool
) -> None:
    result = check(("oak", Audit.GOLD, gold), ("oak", Audit.OWN_TEXT, own_text))
    assert result.passed == passed
    assert {key: value.value for key, value in (result.metadata or {}).items()} == {
        "gold, oak": gold[0] / 10,
        "own_text, oak": own_text[0] / 10,
    }
    if not passed:
        assert result.description == (
            "The Judge oak finds the truth, where it is known, on own text in 50% (20% to 80%), on "
            "gold responses in 100% (66% to 100%) of the pairs; its win rates say little."
        )


def test_an_experiment_without_the_harder_audit_says_why() -> None:
    arms = {"evaluation": {"arms": ["method", "base_answers"]}}
    result = check(("oak", Audit.GOLD, (9, 1)), stated=STATED | arms)
    assert result.passed
    metadata = result.metadata or {}
    assert metadata["own_text"].value == NO_OWN_TEXT
    assert {type(label) for label in metadata} == {str}  # Dagster stores no enum as a label
    assert NO_OWN_TEXT.endswith("evaluation.arms has no instructed")


def test_each_judge_is_looked_at() -> None:
    result = check(("oak", Audit.GOLD, (9, 1)), ("elm", Audit.GOLD, (5, 5)), stated=TWO)
    assert not result.passed
    assert "Judge elm finds" in (result.description or "")
    assert "oak" not in (result.description or "")


@pytest.mark.parametrize(("oracle", "passed"), [("m", False), ("k", True)])
def test_who_wrote_the_gold_responses_does_not_judge(oracle: str, passed: bool) -> None:
    assert check(("oak", Audit.GOLD, (9, 1)), oracle=oracle).passed == passed
