"""External evaluations of a whole run: cells of their own, made once, and nothing else."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from dagster import AssetCheckEvaluation, DagsterEventType, DagsterInstance, RunsFilter

from stargate_assets.cli.driver import record_usage, run_experiment
from stargate_assets.cli.estimate.estimator import estimate_calls
from stargate_assets.cli.evaluations import run_evaluations
from stargate_assets.config.data_set import DataError
from stargate_assets.config.evaluation_set import EvaluationSet, validate_evaluation_set
from stargate_assets.config.experiment import ExperimentError
from stargate_assets.definitions.project import Project
from stargate_assets.pipeline.assets.evaluation_sets import missing_evaluations
from stargate_assets.pipeline.assets.report_page import experiment_tables
from stargate_assets.pipeline.assets.versions import report_is_due
from stargate_assets.pipeline.jobs import evaluation_job_name
from stargate_assets.pipeline.sources.evaluation_sets import read_items
from stargate_assets.reporting.evaluation_sets import evaluation_grids
from stargate_assets_tests.method.records import PATIENTS, TASKS

BOTH = ("in3", "mediq")


def write_sets(directory: Path) -> dict[str, EvaluationSet]:
    """Both evaluations, of records of our own."""
    for kind, records in (("in3", TASKS), ("mediq", PATIENTS)):
        lines = "".join(json.dumps(record) + "\n" for record in records)
        (directory / f"{kind}.jsonl").write_text(lines)
    return {
        kind: validate_evaluation_set(kind, {"kind": kind, "file": f"{kind}.jsonl"}, directory)
        for kind in BOTH
    }


def naming(project: Project, sets: Mapping[str, EvaluationSet]) -> Project:
    """The project with these evaluations, all of which its experiment names."""
    named = project.experiments["loop"].model_copy(update={"evaluations": tuple(sets)})
    return replace(project, experiments={"loop": named}, evaluation_sets=sets)


def missing(project: Project) -> set[str]:
    """The cells that are due."""
    experiment, sets = project.experiments["loop"], project.evaluation_sets
    return {
        cell.key for cell, _ in missing_evaluations(project.warehouse, "loop", experiment, sets)
    }


def test_an_untrained_policy_is_evaluated_alone_and_once(
    scripted_project: Callable[..., Project], mini: Path
) -> None:
    project = naming(scripted_project(), write_sets(mini))
    counted = {
        (e.slice, e.role, e.kind): e.calls
        for e in estimate_calls(project, ["loop"])["loop"]
        if e.slice in ("0|in3", "0|mediq")
    }
    announced: list[str] = []
    tables = run_evaluations(project, "loop", announced.append)
    assert announced == [
        "loop: cell 0|in3 (external evaluation)",
        "loop: cell 0|mediq (external evaluation)",
    ]
    rows = project.warehouse.query(
        "SELECT split, count(*) AS items FROM loop.evaluation_outcomes GROUP BY ALL ORDER BY ALL"
    )
    assert rows.rows() == [("in3", len(TASKS)), ("mediq", len(PATIENTS))]
    assert [grid.title for grid in evaluation_grids(tables)] == [
        "External evaluation in3",
        "External evaluation mediq",
    ]
    assert set(project.warehouse.materializations("loop")) == {
        ("evaluation_outcomes", "0|in3"),
        ("evaluation_outcomes", "0|mediq"),
    }
    asked = {(u.slice, u.role, u.kind): u.calls for u in record_usage(project, project.warehouse)}
    assert {key[:2] for key in asked} == {key[:2] for key in counted}
    assert {k: n for k, n in asked.items() if k[1] == "questioner"} == {
        k: n for k, n in counted.items() if k[1] == "questioner"
    }

    run_evaluations(project, "loop", announced.append)
    assert len(announced) == 2
    project.warehouse.forget("loop", ["0|in3"])
    made = project.models.usage.made
    run_evaluations(project, "loop", announced.append)
    assert announced[2:] == ["loop: cell 0|in3 (external evaluation)"]
    assert project.models.usage.made == made


@pytest.mark.slow
def test_a_finished_run_gets_evaluations_and_nothing_else(
    finished_project: Callable[..., Project], tmp_path: Path
) -> None:
    before = finished_project().warehouse.materializations("loop")
    project = naming(finished_project(), write_sets(tmp_path))
    run_experiment(project, "loop", None, lambda said: None)
    now = project.warehouse.materializations("loop")
    made = {key for key in now if now[key] != before.get(key)}
    cells = {("evaluation_outcomes", f"{i}|{kind}") for i in range(3) for kind in BOTH}
    assert made == cells | {("report", "all")}
    assert missing(project) == set()
    assert not report_is_due(project.warehouse, "loop")
    grid, _ = evaluation_grids(
        experiment_tables(project.warehouse, "loop", project.experiments["loop"])
    )
    assert list(grid.head) == ["", "policy 0", "policy 1", "policy 2", "against policy 0"]
    assert "External evaluation in3" in (tmp_path / "warehouse/reports/loop.html").read_text()

    # Another file makes its own cells due; an experiment that names none still shows what is there.
    with (tmp_path / "in3.jsonl").open("a") as file:
        file.write(json.dumps(TASKS[0] | {"task": "Draw a map."}) + "\n")
    assert missing(project) == {"0|in3", "1|in3", "2|in3"}
    unnamed = finished_project()
    shown = experiment_tables(unnamed.warehouse, "loop", unnamed.experiments["loop"])
    assert len(evaluation_grids(shown)) == 2


def checks_of_last_run(directory: Path) -> list[AssetCheckEvaluation]:
    with DagsterInstance.from_config(str(directory)) as instance:
        job = evaluation_job_name("loop")
        run = instance.get_runs(filters=RunsFilter(job_name=job), limit=1)[0]
        logs = instance.all_logs(run.run_id, of_type=DagsterEventType.ASSET_CHECK_EVALUATION)
        return [log.get_dagster_event().asset_check_evaluation_data for log in logs]


@pytest.mark.slow
def test_a_training_task_in_an_evaluation_is_told_of(
    finished_project: Callable[..., Project], tmp_path: Path
) -> None:
    project = finished_project()
    trained = project.warehouse.query("SELECT text FROM mini.tasks WHERE split = 'train_a'")
    record = TASKS[-1] | {"task": trained["text"][0].replace("?", " ?")}
    (tmp_path / "in3.jsonl").write_text(json.dumps(record) + "\n")
    stated = validate_evaluation_set("in3", {"kind": "in3", "file": "in3.jsonl"}, tmp_path)
    tables = run_evaluations(naming(project, {"in3": stated}), "loop", lambda said: None)
    [grid] = evaluation_grids(tables)
    assert "1 item near to a training task, the nearest with a similarity of 1.00" in grid.note
    [checked, *_] = checks_of_last_run(tmp_path)
    assert (checked.check_name, checked.passed) == ("not_trained_on", False)


def test_what_is_no_record_is_named_with_its_line(tmp_path: Path) -> None:
    sets = write_sets(tmp_path)
    wrong = EvaluationSet(kind="mediq", file=tmp_path / "in3.jsonl")
    with pytest.raises(DataError, match=r"in3.jsonl, line 1: options and answer_idx"):
        read_items("patients", wrong)
    (tmp_path / "in3.jsonl").write_text((json.dumps(TASKS[0]) + "\n") * 2)
    found = read_items("in3", sets["in3"])
    assert (len(found.items), found.left_out) == (1, {"repeated": 1})
    (tmp_path / "in3.jsonl").write_text("")
    with pytest.raises(DataError, match="has no records"):
        read_items("in3", sets["in3"])


def test_a_limit_draws_items_by_their_ids(tmp_path: Path) -> None:
    stated = write_sets(tmp_path)["in3"].model_copy(update={"limit": 2})
    found = read_items("in3", stated)
    assert (len(found.items), found.left_out) == (2, {"above the limit": 2})
    (tmp_path / "in3.jsonl").write_text("".join(json.dumps(r) + "\n" for r in reversed(TASKS)))
    assert read_items("in3", stated).items == found.items


@pytest.mark.parametrize(
    ("name", "stated", "said"),
    [
        ("in3", {"kind": "quiz", "file": "a.jsonl"}, "there is no 'quiz'; there are: in3, mediq"),
        ("in3", {"kind": "in3"}, "needs either a file or a hub data set"),
        ("test", {"kind": "in3", "file": "a.jsonl"}, "cannot be called 'test'"),
    ],
)
def test_a_wrong_declaration_says_what_is_wrong(
    name: str, stated: dict[str, object], said: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=said):
        validate_evaluation_set(name, stated, tmp_path)


def test_an_evaluation_that_nobody_declares_is_refused(
    scripted_project: Callable[..., Project],
) -> None:
    with pytest.raises(ExperimentError, match=r"names the evaluation 'quiz', which is not decl"):
        scripted_project(evaluations=("quiz",))


def test_stargate_evaluate_needs_the_option_before_names() -> None:
    from stargate_assets.cli.main import main

    found = CliRunner().invoke(main, ["evaluate", "embedded", "in3"])
    assert found.exit_code == 2
    assert "Say --on before the names of evaluations." in found.output
    found = CliRunner().invoke(main, ["evaluate", "embedded", "--on", "quiz"])
    assert found.exit_code == 1
    assert "names the evaluation 'quiz', which is not declared" in found.output
