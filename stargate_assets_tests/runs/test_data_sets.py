"""Data sets as assets: read from files, and written by the scripted engine."""

import json
from pathlib import Path

import dagster as dg
import pytest

from stargate_assets.cli.driver import launcher, open_instance, run_data_set
from stargate_assets.config.data_set import DataError
from stargate_assets.config.experiment import ExperimentError
from stargate_assets.definitions.project import Project, assemble
from stargate_assets_tests.conftest import mini_data_set, scripted_experiment

SCRIPTED = {"engine": "scripted", "model": "script"}
SIZES = {"train_a": 3, "train_b": 2, "test": 2}
WRITTEN = {
    "personas": None,
    "persona_writer": {"model": SCRIPTED, "examples": {"file": "personas.jsonl"}, "sizes": SIZES},
    "gold_responses": None,
    "oracle": {"model": SCRIPTED},
}


def project(directory: Path, **changes: object) -> Project:
    return assemble({"mini": mini_data_set(directory, **changes)}, {}, Path("warehouse"))


def make(project: Project, split: str) -> None:
    """One split: the others are made by the same assets."""
    with launcher(project, models=True) as launch:
        launch("mini_data", split)


@pytest.mark.slow
def test_what_models_write_is_written_once_and_then_read_from_disk(mini: Path) -> None:
    first = project(mini, **WRITTEN)
    sizes = run_data_set(first, "mini", print)
    assert sizes.drop("split").to_dict(as_series=False) == {
        "tasks": [2, 2, 2],
        "personas": [3, 2, 2],
        "gold_responses": [6, 4, 4],
    }
    assert first.models.usage.made == 7 + 14
    people = first.warehouse.query("SELECT * FROM mini.personas")
    assert people["name"].n_unique() == people["text"].n_unique() == 7
    assert set(people["source"]) == {"generated"}

    changed = WRITTEN | {"seed": 1}
    other = project(mini, **changed)
    make(other, "test")
    written = other.warehouse.query("SELECT name FROM mini.personas WHERE split = 'test'")
    assert not set(written["name"]) & set(people["name"])
    back = project(mini, **WRITTEN)
    run_data_set(back, "mini", print)
    assert back.models.usage.made == 0
    assert (
        back.warehouse.query("SELECT * FROM mini.personas")
        .sort("persona_id")
        .equals(people.sort("persona_id"))
    )


def test_recorded_gold_responses_win_over_the_oracle_s(mini: Path) -> None:
    gold = mini / "gold_responses.jsonl"
    gold.write_text("".join(gold.read_text().splitlines(keepends=True)[:3]))
    filled = project(mini, oracle={"model": SCRIPTED})
    make(filled, "train_a")
    counts = filled.warehouse.query("SELECT source, count(*) FROM mini.gold_responses GROUP BY 1")
    assert dict(counts.iter_rows()) == {"recorded": 3, "generated": 1}


def test_a_bad_file_leaves_what_is_there_alone_and_loads_nothing(mini: Path) -> None:
    make(project(mini), "train_a")
    before = project(mini).warehouse.query("SELECT * FROM mini.tasks")
    with (mini / "personas.jsonl").open("a") as file:
        file.write(json.dumps({"split": "test", "name": "Test0", "text": "Twice."}) + "\n")
    with (mini / "tasks.jsonl").open("a") as file:
        file.write(json.dumps({"split": "test", "text": "One more?"}) + "\n")
    again = project(mini)
    with pytest.raises(DataError, match=r"personas.jsonl, line 7, column 'name'"):
        run_data_set(again, "mini", print)
    assert again.warehouse.query("SELECT * FROM mini.tasks").equals(before)


def test_a_figure_of_lengths_and_domains_is_in_the_metadata(mini: Path) -> None:
    built = project(mini)
    make(built, "test")
    with open_instance() as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey(["mini", "tasks"]))
    assert event and event.asset_materialization
    figure = event.asset_materialization.metadata["lengths and domains"].value
    assert str(figure).startswith("![lengths and domains](data:image/png;base64,iVBOR")


def test_a_writer_needs_two_examples(mini: Path) -> None:
    lines = (mini / "personas.jsonl").read_text().splitlines(keepends=True)
    (mini / "one.jsonl").write_text(lines[0])
    writer = {"model": SCRIPTED, "examples": {"file": "one.jsonl"}}
    with pytest.raises(DataError, match=r"one.jsonl has one persona; a writer needs 2 examples"):
        run_data_set(project(mini, **(WRITTEN | {"persona_writer": writer})), "mini", print)


def test_an_experiment_needs_gold_responses(mini: Path) -> None:
    data = {"mini": mini_data_set(mini, gold_responses=None)}
    experiment = {"loop": scripted_experiment(Path("model"))}
    with pytest.raises(ExperimentError, match="'mini', which has no gold responses; there are: "):
        assemble(data, experiment, Path("warehouse"))
