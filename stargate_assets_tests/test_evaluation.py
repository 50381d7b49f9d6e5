"""Responses, judgements and win rates in the whole loop, with the scripted engine."""

from collections.abc import Callable
from typing import Any

import dagster as dg
import polars as pl
import pytest

from stargate_assets.assets.grid import MissingReferenceError
from stargate_assets.definitions import Project
from stargate_assets.driver import (
    cell_states,
    judged_win_rates,
    launcher,
    open_instance,
    run_data_set,
    run_experiment,
)

Build = Callable[..., Project]
SCRIPTED = {"engine": "scripted", "model": "judge"}
PAIRS = 4


def walked(build: Build, **changes: Any) -> Project:
    project = build(iterations=1, **changes)
    run_experiment(project, "loop", None, print)
    return project


def rows(project: Project, table: str) -> pl.DataFrame:
    return project.warehouse.query(f'from "loop".{table}')


def judge(method: str) -> dict[str, object]:
    return {"model": SCRIPTED, "name": "oak", "method": method}


def states(project: Project) -> dict[str, str]:
    return {state.step.cell.key: state.state for state in cell_states(project, "loop")}


def test_every_arm_of_every_test_cell_has_a_win_rate(scripted_project: Build) -> None:
    project = walked(scripted_project, judge=judge("fit"))
    found = judged_win_rates(project, "loop")
    assert found is not None
    arms = found.filter(dimension="all").select("iteration", "arm").rows()
    assert sorted(arms) == [
        (0, "instructed"),
        (0, "no_questions"),
        (1, "base_answers"),
        (1, "base_asks"),
        (1, "method"),
        (1, "no_questions"),
    ]
    assert set(found["judge"]) == {"oak"}
    assert found.filter(dimension="all")["pairs"].to_list() == [PAIRS] * 6
    by_turns = found.filter(dimension="turns").group_by("iteration", "arm").agg(pl.sum("pairs"))
    assert by_turns.height == 4  # not where nobody asks
    assert set(by_turns["pairs"]) == {PAIRS}
    assert rows(project, "responses").height == 3 * PAIRS + 4 * PAIRS
    assert set(rows(project, "judge_audit")["split"]) == {"test"}

    # Who has the reference's asker answers after the reference's conversation.
    key = ["task_id", "persona_id", "sample", "turns"]
    responses = rows(project, "responses")
    reference = responses.filter(iteration=0, arm="method").select(key).sort(key)
    base_asks = responses.filter(iteration=1, arm="base_asks").select(key).sort(key)
    assert base_asks.equals(reference)


def test_fault_7_a_judge_that_cannot_be_read_is_shown_and_not_dropped(
    scripted_project: Build,
) -> None:
    """The scripted engine says something that is no verdict, and says it again."""
    project = scripted_project(iterations=1, judge=judge("written"))
    run_data_set(project, "mini", print)
    with launcher(project, models=True) as launch:
        launch("loop_evaluate", "0|test")
    found = rows(project, "win_rates")
    assert found["unscored"].equals(found["pairs"], check_names=False)
    assert found["win_rate"].null_count() == found.height
    assert set(rows(project, "judgements")["unscored"]) == {"unparsed"}
    assert rows(project, "judgements")["comparison_first"].null_count() == 0


def test_another_judge_makes_the_test_cells_due_and_trains_nothing(
    scripted_project: Build,
) -> None:
    project = walked(scripted_project)
    assert judged_win_rates(project, "loop") is None
    assert rows(project, "responses").height == 7 * PAIRS
    made = project.models.usage.made
    assert made > 0

    judged = scripted_project(iterations=1, judge=judge("choice"))
    assert states(judged) == {"0|test": "next", "0|train_a": "done", "1|test": "waiting"}
    run_experiment(judged, "loop", None, print)
    assert set(states(judged).values()) == {"done"}
    # Nothing is asked but the Judge: two orders and letters of the audit and of two cells.
    assert judged.models.usage.made <= 4 * (PAIRS + 6 * PAIRS)
    assert judged.models.usage.training_seconds == 0


def test_the_cell_to_compare_with_is_named(scripted_project: Build) -> None:
    project = scripted_project(iterations=1, judge=judge("fit"))
    run_data_set(project, "mini", print)
    with launcher(project, models=True) as launch:
        launch("loop_train_iteration", "0|train_a")
        with pytest.raises(MissingReferenceError, match=r"conversations on test .* cell 0\|test"):
            launch("loop_evaluate", "1|test")


def test_a_training_cell_can_be_evaluated_by_hand(scripted_project: Build) -> None:
    project = scripted_project(iterations=1, judge=judge("fit"))
    run_data_set(project, "mini", print)
    with launcher(project, models=True) as launch:
        launch("loop_evaluate", "0|train_b")
    assert set(rows(project, "win_rates")["split"]) == {"train_b"}


def test_a_weak_judge_is_a_warning_and_stops_nothing(scripted_project: Build) -> None:
    project = scripted_project(iterations=1, judge=judge("fit"))
    run_data_set(project, "mini", print)
    with open_instance() as instance:
        job = project.definitions.get_repository_def().get_job("loop_evaluate")
        result = job.execute_in_process(instance=instance, partition_key="0|test")
    assert result.success
    checks = {(e.asset_key.path[-1], e.check_name): e for e in result.get_asset_check_evaluations()}
    warned = checks["judge_audit", "trusted"]
    assert (warned.passed, warned.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "finds the truth in 50%" in str(warned.description)
    assert all(check.passed for check in checks.values() if check is not warned)
    judged = {key for key, _ in checks}
    assert {"responses", "judgements", "judge_audit", "win_rates"} <= judged
