"""The command as a user calls it."""

import shutil
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner

from stargate_assets.cli.driver import launcher, list_family, load
from stargate_assets.cli.main import main
from stargate_assets.definitions.project import Project
from stargate_assets.pipeline.assets.rows import table_rows
from stargate_assets.pipeline.assets.versions import data_versions
from stargate_assets.storage.warehouse import Warehouse
from stargate_assets_tests.conftest import ROOT
from stargate_assets_tests.reporting import frames


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def call(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, words)
    return result.exit_code, " ".join(result.output.split())


def test_status_of_an_experiment_that_has_not_run() -> None:
    code, output = call("status", "embedded")
    assert code == 0
    for key, state in (("0|test", "next"), ("0|train_a", "next"), ("1|train_b", "waiting")):
        assert f"│ {key} │" in output
        assert state in output


def test_what_only_looks_says_where_and_creates_nothing(tmp_path: Path) -> None:
    place = f"{tmp_path}/warehouse/stargate.duckdb"
    for code, words in (
        (0, ("status", "embedded")),
        (0, ("prompts", "embedded")),
        (1, ("report", "embedded")),
        (1, ("compare", "embedded")),
        (1, ("export", "embedded", "--format", "sft")),
        (1, ("sql", "select 1")),
    ):
        found, output = call(*words)
        assert found == code, output
        assert place in output
        assert "not there yet" in output
    assert list(tmp_path.iterdir()) == []


def test_a_run_says_where_its_report_is_and_a_comparison_its_page() -> None:
    shutil.copy(ROOT / "dagster.yaml", Path.cwd())
    project = load("embedded")
    versions = data_versions(project.data_sets["everyday_mini"])
    drawn = replace(frames.tables(tasks=2, people=2), experiment=project.experiments["embedded"])
    frames.store(drawn, project.warehouse, versions)
    page = Path("warehouse/reports/embedded.html")
    code, output = call("run", "embedded")
    assert code == 0
    assert f"Report: {page} " in output
    assert "policy 2 asks: " in output
    assert " 0 model calls in 0 s" in output
    assert page.exists()

    code, output = call("compare", "embedded", "--policy", "1")
    assert code == 0
    for heading in ("What each policy gained", "What each policy does and costs"):
        assert heading in output
    assert f"Wrote {page}, with a figure" in output
    code, output = call("compare", "embedded", "everyday_smoke")
    assert code == 1
    assert "No test cell of everyday_smoke is there yet, in " in output


def test_what_runs_nothing_builds_no_asset_graph(
    smollm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("warehouse").mkdir()
    Path("warehouse/models").symlink_to(smollm.parent)  # made from its package once

    def refuse(project: Project) -> dg.Definitions:
        raise AssertionError("this command needs no definitions")

    monkeypatch.setattr(Project, "definitions", property(refuse))
    project = load("embedded")
    drawn = replace(frames.tables(tasks=2, people=2), experiment=project.experiments["embedded"])
    frames.store(drawn, project.warehouse)
    for words in (
        ("status", "embedded"),
        ("report", "embedded"),
        ("compare", "embedded"),
        ("sql", "from embedded.report"),
        ("estimate", "embedded", "--iterations", "1", "--samples", "1"),
    ):
        code, output = call(*words)
        assert code == 0, output
    with (
        pytest.raises(AssertionError, match="needs no definitions"),
        launcher(project, models=True),
    ):
        pass


def test_options_change_all_of_a_family_and_nobody_else() -> None:
    project = load("embedded", all_of_it=True, seed=3, iterations=1, samples=5)
    changed = {
        name
        for name, e in project.experiments.items()
        if (e.seed, e.iterations, e.simulation.samples) == (3, 1, 5)
    }
    assert len(changed) > 1
    assert changed == set(list_family(project, "embedded"))
    assert list_family(project, "embedded")[0] == "embedded"
    (alone,) = (name for name, e in load("embedded", seed=3).experiments.items() if e.seed == 3)
    assert alone == "embedded"


@pytest.fixture
def _one_task() -> None:
    row = {
        "split": "test",
        "task_id": "t",
        "text": "What [b]now[/b]?",
        "domain": None,
        "kind": None,
    }
    frame = table_rows("tasks", [row])
    Warehouse(Path("warehouse/stargate.duckdb")).write("d", "tasks", {"split": "test"}, frame, "v")


@pytest.mark.usefixtures("_one_task")
def test_sql_prints_rows() -> None:
    code, output = call("sql", "select text, 1 / 3 as third from d.tasks")
    assert code == 0
    assert "What [b]now[/b]? │ 0.3333" in output


@pytest.mark.usefixtures("_one_task")
def test_a_query_that_duckdb_refuses_is_told_in_its_words() -> None:
    code, output = call("sql", "select nothing from d.tasks")
    assert code == 1
    assert 'column "nothing" not found' in output


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("run", "nothing"), "no experiment 'nothing'; there are: embedded"),
        (("run", "embedded"), "no dagster.yaml here; run this from the project's directory"),
        (("run", "embedded", "--force", "3|test"), "not a planned cell; there are: 0|test"),
        (("run", "embedded", "--samples", "0"), "Invalid value for '--samples'"),
        (
            ("run", "--all", "nothing"),
            "No experiment is called 'nothing' or nothing_...",
        ),
        (("run", "--all", "embedded", "--force", "0|test"), "--force is for one experiment"),
        (("estimate", "--all", "nothing"), "No experiment is called 'nothing' or nothing_..."),
        (("compare", "nothing"), "no experiment 'nothing'; there are: embedded"),
        (("sql", "select 1"), "stargate.duckdb is not there yet; run an experiment first, or"),
    ],
)
def test_mistakes_are_one_sentence(words: tuple[str, ...], sentence: str) -> None:
    code, output = call(*words)
    assert code != 0
    assert sentence in output
    assert "Traceback" not in output
