import pytest

from stargate_assets.config.experiment import Judge
from stargate_assets.config.model_spec import ModelSpec
from stargate_assets.method.judging import Unscored, Verdict
from stargate_assets.method.simulation import Cell
from stargate_assets.pipeline.assets.evaluation_checks import check_trust
from stargate_assets.pipeline.assets.rows import pair_key, table_rows

JUDGE = Judge(model=ModelSpec(model="m"))
ROW = {
    "other_persona_id": "q",
    "preference": None,
    "unscored": None,
    "verdict_first": None,
    "verdict_second": None,
}


def audit(wins: int, losses: int, unscored: int = 0):
    verdicts = [Verdict.WIN] * wins + [Verdict.LOSS] * losses + [None] * unscored
    return table_rows(
        "judge_audit",
        [
            pair_key(Cell(0, "test"), (f"t{i}", f"p{i}"))
            | ROW
            | {"verdict": verdict, "unscored": None if verdict else Unscored.UNPARSED}
            for i, verdict in enumerate(verdicts)
        ],
    )


@pytest.mark.parametrize(
    ("wins", "losses", "doubt"),
    [(8, 2, None), (7, 3, "truth in 70% of the pairs"), (0, 0, "no verdict where")],
)
def test_a_judge_is_trusted_from_four_in_five(wins: int, losses: int, doubt: str | None) -> None:
    result = check_trust(audit(wins, losses, unscored=1), JUDGE, oracle=None)
    assert result.passed == (doubt is None)
    assert (doubt or "") in (result.description or "")


@pytest.mark.parametrize(("oracle", "passed"), [("m", False), ("n", True)])
def test_who_wrote_the_gold_responses_does_not_judge(oracle: str, passed: bool) -> None:
    result = check_trust(audit(9, 1), JUDGE, ModelSpec(model=oracle))
    assert result.passed == passed
