"""Responses, judgements and win rates in the whole loop, with the scripted engine."""

import re
from collections.abc import Callable

import dagster as dg
import polars as pl
import pytest

from stargate_assets.cli.cells import list_cell_states
from stargate_assets.cli.driver import (
    launcher,
    open_instance,
    run_experiment,
)
from stargate_assets.cli.runs import read_win_rates
from stargate_assets.definitions.project import Project
from stargate_assets.engines.scripted import UTTERANCES
from stargate_assets.pipeline.assets.cell_run import MissingReferenceError
from stargate_assets.storage.warehouse import slice_name
from stargate_assets_tests.conftest import SCRIPTED

Build = Callable[..., Project]
PAIRS = 4


def rows(project: Project, table: str) -> pl.DataFrame:
    return project.warehouse.query(f'from "loop".{table}')


def judge(method: str) -> dict[str, object]:
    return {"model": SCRIPTED, "name": "oak", "method": method}


def states(project: Project) -> dict[str, str]:
    return {state.step.cell.key: state.state for state in list_cell_states(project, "loop")}


def test_every_arm_of_every_test_cell_has_a_win_rate(finished_project: Build) -> None:
    project = finished_project()
    found = read_win_rates(project, "loop")
    assert found is not None
    arms = found.filter(dimension="all", reference="base").select("iteration", "arm").rows()
    assert sorted(arms) == [
        (0, "instructed"),
        (0, "no_questions"),
        (1, "base_answers"),
        (1, "base_asks"),
        (1, "method"),
        (1, "no_questions"),
        (2, "base_answers"),
        (2, "base_asks"),
        (2, "method"),
        (2, "no_questions"),
    ]
    of_asking = found.filter(dimension="all", reference="base_asks").select("iteration", "arm")
    assert sorted(of_asking.rows()) == [(1, "method"), (2, "method")]
    assert set(found["judge"]) == {"oak"}
    assert found.filter(dimension="all")["pairs"].to_list() == [PAIRS] * 12
    by = ("iteration", "arm", "reference")
    by_turns = found.filter(dimension="turns").group_by(by).agg(pl.sum("pairs"))
    assert by_turns.height == 9  # not where nobody asks
    assert set(by_turns["pairs"]) == {PAIRS}
    assert rows(project, "responses").height == 3 * PAIRS + 2 * 4 * PAIRS
    assert set(rows(project, "judge_audit")["split"]) == {"test"}

    # What is heard is traced where somebody asks: the scripted Roleplayer states something or asks.
    heard = rows(project, "heard_statements")
    assert set(heard["arm"]) == {"method", "base_answers", "base_asks", "instructed"}
    assert set(heard["statement"]) <= set(UTTERANCES)

    # Who has the reference's asker answers after the reference's conversation.
    key = ["task_id", "persona_id", "sample", "turns"]
    responses = rows(project, "responses")
    reference = responses.filter(iteration=0, arm="method").select(key).sort(key)
    base_asks = responses.filter(iteration=1, arm="base_asks").select(key).sort(key)
    assert base_asks.equals(reference)


@pytest.mark.slow
def test_fault_7_a_judge_that_cannot_be_read_is_shown_and_not_dropped(
    finished_project: Build,
) -> None:
    """The scripted engine says something that is no verdict, and says it again."""
    project = finished_project(judge=judge("written"))
    with launcher(project, models=True) as launch:
        launch("loop_evaluate", "0|test")
    found = rows(project, "win_rates").filter(iteration=0)
    assert found["unscored"].equals(found["pairs"], check_names=False)
    assert found["win_rate"].null_count() == found.height
    judgements = rows(project, "judgements").filter(iteration=0)
    assert set(judgements["unscored"]) == {"unparsed"}
    assert judgements["comparison_first"].null_count() == 0


@pytest.mark.slow
def test_other_judges_stand_beside_the_headline(finished_project: Build) -> None:
    before = read_win_rates(finished_project(), "loop")
    project = finished_project(other_judges=[judge("choice") | {"name": "elm"}])
    with open_instance() as instance:
        job = project.definitions.get_repository_def().get_job("loop_evaluate")
        result = job.execute_in_process(instance=instance, partition_key="0|test")
    checks = {(e.asset_key.path[-1], e.check_name): e for e in result.get_asset_check_evaluations()}
    assert {key for key, check in checks.items() if not check.passed} == {
        ("judge_audit", "trusted")
    }
    assert all(
        f"Judge {j} finds" in str(checks["judge_audit", "trusted"].description)
        for j in ("oak", "elm")
    )

    judgements = rows(project, "judgements").filter(iteration=0)
    assert judgements.group_by("judge").len().sort("judge").rows() == [("elm", 8), ("oak", 8)]
    found = rows(project, "win_rates").filter(iteration=0)
    headline = found.filter("headline")
    assert before is not None
    old = before.filter(iteration=0)
    assert headline.sort("arm", "dimension").equals(old.sort("arm", "dimension"))
    assert set(headline["judge"]) == {"oak"}
    assert headline["agreement"].null_count() == headline.height
    verdicts = [
        dict(
            judgements.filter(judge=j)
            .select(pl.struct("arm", "task_id", "persona_id").struct.json_encode(), "verdict")
            .iter_rows()
        )
        for j in ("oak", "elm")
    ]
    of_all = found.filter(judge="elm", dimension="all")
    for arm, agreement in of_all.select("arm", "agreement").iter_rows():
        same = [verdicts[0][key] == verdicts[1][key] for key in verdicts[0] if f'"{arm}"' in key]
        assert agreement == sum(same) / PAIRS


def test_planted_a_judge_that_is_blind_on_own_text_is_warned_of(finished_project: Build) -> None:
    """It finds a word of the persona in each gold response, and in the base model's answers nothing
    that the persona would explain.
    """
    project, where = finished_project(), {"split": "test"}
    cell = {"iteration": 0} | where

    def plant(schema: str, table: str, where: dict[str, str | int], text: pl.Expr) -> None:
        frame = project.warehouse.read(schema, table, [where]).with_columns(text=text)
        version = project.warehouse.materializations(schema)[table, slice_name(where)].version
        project.warehouse.write(schema, table, where, frame, version)

    who = pl.col("persona_id")
    plant("mini", "personas", where, pl.format("I keep bees called {}", who))
    plant("mini", "gold_responses", where, pl.format("Feed {} now", who))
    plant("loop", "responses", cell, pl.format("Feed them {}-wise now", who))
    with open_instance() as instance:
        result = (
            project.definitions.get_repository_def()
            .get_job("loop_evaluate")
            .execute_in_process(
                instance=instance,
                partition_key="0|test",
                asset_selection=[dg.AssetKey(["loop", "judge_audit"])],
            )
        )
    audited = rows(project, "judge_audit").filter(iteration=0)
    assert audited.group_by("audit", "verdict").len().sort("audit").rows() == [
        ("gold", "win", PAIRS),
        ("own_text", "tie", PAIRS),
    ]
    (warned,) = [e for e in result.get_asset_check_evaluations() if e.check_name == "trusted"]
    assert (warned.passed, warned.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "on own text in 50% (" in str(warned.description)
    assert "on gold responses in 100% (" in str(warned.description)


@pytest.mark.slow
def test_a_warehouse_from_before_there_were_several_judges_is_made_new(
    finished_project: Build,
) -> None:
    """Its tables lack columns, its views read those that are no more, and no call is made again."""
    project = finished_project()
    expected = {table: rows(project, table) for table in ("judge_audit", "judgements", "win_rates")}
    younger = re.compile("headline|reference|.*_audit|agreement|kappa")
    added = {
        "judge_audit": ["judge", "audit"],
        "judgements": ["judge", "reference"],
        "win_rates": [c for c in expected["win_rates"].columns if younger.match(c)],
    }
    with project.warehouse.connect(read_only=False) as connection:
        for table, dropped in added.items():
            for column in dropped:
                connection.execute(f'ALTER TABLE "loop".{table} DROP COLUMN {column}')
        connection.execute('ALTER TABLE "loop".win_rates ADD COLUMN audit_accuracy DOUBLE')
        connection.execute(
            'CREATE OR REPLACE VIEW "loop".win_rate_by_iteration AS '
            'SELECT iteration, arm, win_rate, audit_accuracy FROM "loop".win_rates'
        )
        connection.execute(
            "UPDATE warehouse.materializations SET version = 'old' "
            "WHERE table_name IN ('judge_audit', 'judgements', 'win_rates')"
        )
    assert read_win_rates(project, "loop") is None
    assert states(project)["0|test"] == "next"
    with launcher(project, models=True) as launch:
        launch("loop_evaluate", "0|test")
    assert states(project)["0|test"] == "done"
    assert project.models.usage.made == 0
    for table, frame in expected.items():
        made = rows(project, table).filter(iteration=0).select(frame.columns)
        assert made.equals(frame.filter(iteration=0)), table
    view = project.warehouse.query('FROM "loop".win_rate_by_iteration')
    assert view.select("judge").unique().rows() == [("oak",)]
    assert "audit_accuracy" not in view.columns


@pytest.mark.slow
def test_another_judge_makes_the_test_cells_due_and_trains_nothing(
    finished_project: Build,
) -> None:
    assert read_win_rates(finished_project(judge=None), "loop") is None
    judged = finished_project(judge=judge("choice"))
    assert states(judged) == {
        "0|test": "next",
        "0|train_a": "done",
        "1|test": "waiting",
        "1|train_b": "done",
        "2|test": "waiting",
    }
    run_experiment(judged, "loop", None, print)
    assert set(states(judged).values()) == {"done"}
    # Nothing is asked but the Judge: two orders and letters of the audit and of three cells.
    assert 0 < judged.models.usage.made <= 4 * (PAIRS + 10 * PAIRS)
    assert judged.models.usage.training_seconds == 0


def test_the_cell_to_compare_with_is_named(finished_project: Build) -> None:
    project = finished_project()
    with project.warehouse.connect(read_only=False) as connection:
        connection.execute("DELETE FROM warehouse.materializations WHERE slice = '0|test'")
    missing = pytest.raises(MissingReferenceError, match=r"conversations on test .* cell 0\|test")
    with launcher(project, models=True) as launch, missing:
        launch("loop_evaluate", "1|test")


def test_a_training_cell_can_be_evaluated_by_hand(finished_project: Build) -> None:
    project = finished_project()
    with launcher(project, models=True) as launch:
        launch("loop_evaluate", "0|train_b")
    made = rows(project, "win_rates").filter(pl.col("split") != "test")
    assert set(made.select("iteration", "split").rows()) == {(0, "train_b")}


@pytest.mark.slow
def test_a_weak_judge_is_a_warning_and_stops_nothing(finished_project: Build) -> None:
    project = finished_project()
    with open_instance() as instance:
        job = project.definitions.get_repository_def().get_job("loop_evaluate")
        result = job.execute_in_process(instance=instance, partition_key="0|test")
    assert result.success
    checks = {(e.asset_key.path[-1], e.check_name): e for e in result.get_asset_check_evaluations()}
    warned = checks["judge_audit", "trusted"]
    assert (warned.passed, warned.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "on gold responses in 50% (" in str(warned.description)
    assert all(check.passed for check in checks.values() if check is not warned)
    judged = {key for key, _ in checks}
    assert {"responses", "heard_statements", "judgements", "judge_audit", "win_rates"} <= judged
