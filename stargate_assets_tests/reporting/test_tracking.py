"""What trackers are told, read back with a tracker's own client."""

import os
import shutil
from pathlib import Path
from threading import Event

import polars as pl
import pytest

from stargate_assets.config.machine import Machine
from stargate_assets.definitions.project import Project
from stargate_assets.models.pool import ModelPool
from stargate_assets.pipeline.assets.versions import report_version
from stargate_assets.pipeline.tracking import Tracking
from stargate_assets.reporting.tables import ExperimentTables
from stargate_assets.reporting.trackers.mlflow import FILE
from stargate_assets.reporting.trackers.tracker import TrackedRun
from stargate_assets.storage.warehouse import Warehouse
from stargate_assets_tests.reporting import frames

NAME = "embedded"


@pytest.fixture(scope="module")
def tables() -> ExperimentTables:
    return frames.tables(NAME, tasks=2, people=2)


@pytest.fixture(scope="module")
def stored(tables: ExperimentTables, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse with the tables, which is copied for each test."""
    root = tmp_path_factory.mktemp("tracked") / "warehouse"
    frames.store(tables, Warehouse(root / "stargate.duckdb"))
    return root


@pytest.fixture
def project(stored: Path, tables: ExperimentTables, tmp_path: Path) -> Project:
    root = shutil.copytree(stored, tmp_path / "warehouse")
    models = ModelPool(root, Machine(trackers=("mlflow",)))
    return Project(Warehouse(root / "stargate.duckdb"), models, {}, {NAME: tables.experiment})


def test_mlflow_has_the_curves_of_the_warehouse(
    project: Project, tables: ExperimentTables, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    said: list[str] = []
    project.tracking.tell(NAME, said.append)
    assert said == []
    client = MlflowClient(tracking_uri=f"sqlite:///{project.warehouse.path.parent / FILE}")
    found = client.get_experiment_by_name(NAME)
    assert found is not None
    runs = {int(r.data.tags["policy"]): r for r in client.search_runs([found.experiment_id])}
    assert set(runs) == {0, 1, 2}

    def curve(policy: int, metric: str) -> list[tuple[int, float]]:
        history = client.get_metric_history(runs[policy].info.run_id, metric)
        return sorted((point.step, point.value) for point in history)

    for row in tables.frame("checkpoints").to_dicts():
        policy = row["iteration"] + 1
        assert curve(policy, "training/loss") == list(enumerate(row["losses"], 1))
        compared = list(enumerate(row["preference_losses"], 1))
        assert curve(policy, "training/preference_loss") == compared
        assert runs[policy].data.tags["checkpoint"] == row["sha256"]
    judged = tables.tested("win_rates").filter(dimension="all").to_dicts()
    assert judged
    for row in judged:
        metric = f"test/{row['arm']}/win_rate/{row['reference']}/{row['judge']}"
        for column, end in (("win_rate", ""), ("low", "_low"), ("high", "_high")):
            assert curve(row["iteration"], metric + end) == [(row["iteration"], row[column])]
    rated = tables.frame("report").filter(pl.col("arm").is_null()).to_dicts()
    for row in rated:
        assert curve(row["iteration"], f"test/{row['metric']}") == [(row["iteration"], row["mean"])]
    there = project.warehouse.materializations(NAME)
    for table in ("conversations", "checkpoints"):
        version = there[table, "0|train_a"].version
        assert runs[1].data.tags[f"version/0/train_a/{table}"] == version
    project.tracking.tell(NAME, said.append)  # who is told twice hears nothing twice
    assert len(curve(1, "training/loss")) == len(tables.frame("checkpoints")["losses"][0])
    assert len(client.search_runs([found.experiment_id])) == 3


class Listener:
    """A tracker that keeps what it is told, while it is up."""

    def __init__(self) -> None:
        self.told: list[TrackedRun] = []
        self.is_down = False

    def send(self, run: TrackedRun) -> None:
        if self.is_down:
            raise ConnectionError("https://ana:secret@tracker.example does not answer")
        self.told.append(run)


def listening(project: Project, listener: Listener, name: str = "mlflow") -> Tracking:
    tracking = Tracking(project.warehouse, project.experiments, [name])
    tracking._opened[name] = listener
    return tracking


def test_what_a_tracker_missed_it_is_told_later(project: Project) -> None:
    listener, said = Listener(), list[str]()
    listener.is_down = True
    tracking = listening(project, listener)
    tracking.begin(NAME, said.append)
    tracking.notice(NAME, "report", said.append)
    (sentence,) = said
    assert "secret" not in sentence
    assert "tracker.example does not answer" in sentence
    listener.is_down = False
    listening(project, listener).begin(NAME, said.append)
    assert [run.facts["policy"] for run in listener.told] == [0, 1, 2]
    assert len(said) == 1


def test_only_what_changed_is_told_again(project: Project, tables: ExperimentTables) -> None:
    listener = Listener()
    tracking = listening(project, listener)
    tracking.begin(NAME, print)
    keys = [run.key for run in listener.told]
    listener.told.clear()
    tracking.notice(NAME, "conversations", print)
    tracking.notice(NAME, "report", print)
    assert listener.told == []
    report = tables.frame("report")
    changed = (pl.col("iteration") == 2) & (pl.col("metric") == "question_rate")
    halved = pl.when(changed).then(pl.col("mean") / 2).otherwise(pl.col("mean"))
    version = report_version(project.warehouse, NAME)
    project.warehouse.write(NAME, "report", {}, report.with_columns(mean=halved), version)
    tracking.notice(NAME, "report", print)
    (again,) = listener.told
    assert again.key == keys[2]
    assert {(p.metric, p.step) for p in again.points} == {("test/question_rate", 2)}


def test_a_tracker_that_does_not_answer_is_left_alone(project: Project) -> None:
    answers, said = Event(), list[str]()

    class Silent(Listener):
        def send(self, run: TrackedRun) -> None:
            answers.wait()

    tracking = listening(project, Silent())
    tracking.seconds = 0.01
    tracking.begin(NAME, said.append)
    answers.set()
    assert ["no answer in" in sentence for sentence in said] == [True]


def test_a_tracker_that_is_not_installed_is_one_sentence(project: Project) -> None:
    said: list[str] = []
    Tracking(project.warehouse, project.experiments, ["trackio"]).begin(NAME, said.append)
    assert [s.partition("; ")[2] for s in said] == [
        "install it: pip install 'stargate-assets[trackio]'. The run goes on without it."
    ]


def test_no_text_of_the_tables_is_told(project: Project, tables: ExperimentTables) -> None:
    listener = Listener()
    listening(project, listener).begin(NAME, print)
    told = str(listener.told)
    texts = [text for table in ("tasks", "personas") for text in tables.frame(table)["text"]]
    texts += [q for questions in tables.frame("conversations")["questions"] for q in questions]
    assert texts
    assert not [text for text in texts if text in told]
    assert os.fspath(project.warehouse.path.parent) not in told
