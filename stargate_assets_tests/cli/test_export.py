"""What an experiment's tables become outside, read back by those that it is for."""

import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner
from datasets import load_dataset
from huggingface_hub import DatasetCard

from stargate_assets.cli.export import FORMATS, ExportError, export, make_preference_rows
from stargate_assets.cli.main import main
from stargate_assets.cli.pages import write_report
from stargate_assets.definitions.project import Project
from stargate_assets.models.pool import ModelPool
from stargate_assets.pipeline.assets.evaluation import NothingEvaluatedError
from stargate_assets.reporting.tables import ExperimentTables
from stargate_assets.storage.warehouse import Warehouse
from stargate_assets_tests.reporting import frames


@pytest.fixture(scope="module")
def tables() -> ExperimentTables:
    return frames.tables(samples=4)


@pytest.fixture(scope="module")
def project(tables: ExperimentTables, tmp_path_factory: pytest.TempPathFactory) -> Project:
    root = tmp_path_factory.mktemp("export") / "warehouse"
    warehouse = Warehouse(root / "stargate.duckdb")
    frames.store(tables, warehouse)
    experiments = {"embedded": tables.experiment, "unborn": frames.experiment(seed=1)}
    return Project(warehouse, ModelPool(root), experiments=experiments)


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_tables_come_back_as_they_were(
    project: Project, tables: ExperimentTables, kind: str, tmp_path: Path
) -> None:
    files = export(project, "embedded", kind, tmp_path)  # pyright: ignore[reportArgumentType]
    evaluations = {"evaluation_outcomes"}  # of which it names none
    assert {file.stem for file in files} == set(tables.frames) - evaluations | {"README"}
    path = tmp_path / f"conversations.{kind}"
    read = pl.read_parquet(path) if kind == "parquet" else pl.read_ndjson(path)
    key = ["iteration", "split", "task_id", "persona_id", "sample"]
    stored = tables.frame("conversations")
    assert read.select(stored.columns).sort(key).equals(stored.sort(key))


def test_preferences_are_kept_against_not_kept(
    project: Project, tables: ExperimentTables, tmp_path: Path
) -> None:
    export(project, "embedded", "dpo", tmp_path)
    rows = lines(tmp_path / "train.jsonl")
    conversations, best = tables.frame("conversations"), tables.frame("best_conversations")
    not_kept = conversations.filter(pl.col("split") != "test").height - best.height
    assert len(rows) + sum(make_preference_rows(tables).left_out.values()) == not_kept
    assert {row["split"] for row in rows} == {"train_a", "train_b"}
    key = ("iteration", "split", "task_id", "persona_id")
    kept = {tuple(row[c] for c in (*key, "sample")) for row in best.iter_rows(named=True)}
    said = {
        tuple(row[c] for c in (*key, "sample")): row for row in conversations.iter_rows(named=True)
    }
    for row in rows:
        pair, turn = tuple(row[c] for c in key), row["turn"]
        chosen, rejected = ((*pair, row[c]) for c in ("chosen_sample", "rejected_sample"))
        assert chosen in kept
        assert rejected not in kept
        for name, sample in (("chosen", chosen), ("rejected", rejected)):
            assert row[name] == [{"role": "assistant", "content": said[sample]["questions"][turn]}]
        assert row["prompt"][-1]["role"] == "user"
        reason = said[rejected]["ineligibility"]
        assert row["reason"] == (reason or "lower_log_prob")
        assert (row["margin"] is None) == (reason is not None)
        assert row["margin"] is None or row["margin"] >= 0


def test_training_dialogues_are_those_of_the_kept_conversations(
    project: Project, tables: ExperimentTables, tmp_path: Path
) -> None:
    export(project, "embedded", "sft", tmp_path)
    rows = lines(tmp_path / "train.jsonl")
    answers = tables.frame("regularization_responses")
    whole = answers.filter(~pl.col("truncated")).height
    kinds = [row["kind"] for row in rows]
    assert (kinds.count("question"), kinds.count("answer")) == (answers.height, whole)
    assert all(row["messages"][-1]["role"] == "assistant" for row in rows)


@pytest.mark.parametrize("kind", [kind for kind in FORMATS if kind != "verifiers"])
def test_the_card_is_what_hugging_face_reads(project: Project, kind: str, tmp_path: Path) -> None:
    files = export(project, "embedded", kind, tmp_path)  # pyright: ignore[reportArgumentType]
    card = DatasetCard.load(files[-1])
    assert project.experiments["embedded"].digest() in card.text
    configs = {config["config_name"] for config in card.data.to_dict()["configs"]}
    name = "default" if kind in ("dpo", "sft") else "conversations"
    assert name in configs
    (split,) = load_dataset(str(tmp_path), name, cache_dir=str(tmp_path / "cache")).values()
    file = tmp_path / ("train.jsonl" if name == "default" else f"{name}.{kind}")
    stored = pl.read_parquet(file).height if kind == "parquet" else len(lines(file))
    assert split.num_rows == stored


def test_the_pages_stand_beside_the_warehouse(project: Project) -> None:
    path = write_report(project, ["embedded", "embedded"])
    assert path == project.warehouse.path.parent / "reports" / "embedded.html"
    assert "Conversations" in path.read_text()


def test_an_experiment_that_kept_nothing_has_nothing_to_learn_from(
    project: Project, tables: ExperimentTables, tmp_path: Path
) -> None:
    nothing = {"best_conversations": tables.frame("best_conversations").clear()}
    warehouse = Warehouse(tmp_path / "warehouse" / "stargate.duckdb")
    frames.store(replace(tables, frames={**tables.frames, **nothing}), warehouse)
    with pytest.raises(ExportError, match="train a policy first: stargate run embedded"):
        export(replace(project, warehouse=warehouse), "embedded", "dpo", tmp_path / "out")


def test_an_experiment_that_was_not_evaluated_has_no_page(project: Project) -> None:
    with pytest.raises(NothingEvaluatedError, match="No test cell of unborn is there yet"):
        write_report(project, ["unborn"])


@pytest.mark.parametrize(
    "words", [("report", "embedded"), ("export", "embedded", "--format", "dpo")]
)
def test_commands_before_any_run_are_one_sentence(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 1
    assert "is not there yet; run an experiment first" in " ".join(result.output.split())
    assert "Traceback" not in result.output
