"""Planted truth: a policy that uses heard facts in a known share of its answers."""

import json
from pathlib import Path

import polars as pl
import pytest

from stargate_assets.cli.driver import launcher
from stargate_assets.config.engines import ENGINES, EngineEntry
from stargate_assets.config.experiment import Experiment
from stargate_assets.definitions.project import Project, assemble
from stargate_assets.engines.scripted import KNOWN, UNKNOWN
from stargate_assets.pipeline.assets.evaluation import read_evaluated_tables
from stargate_assets.reporting.tables import metric_row
from stargate_assets_tests.conftest import mini_data_set
from stargate_assets_tests.runs import attentive_engine

TASKS, PEOPLE = 10, 6
STATEMENTS = (
    "For work I do {} mostly .",
    "I live with {} at present .",
    "What I like to eat is {} indeed .",
    "I have money for {} only .",
    "I am learning {} slowly .",
)


@pytest.fixture
def project(mini: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """People whose facts nobody else has, and a Roleplayer that says them when it is asked."""
    monkeypatch.setitem(ENGINES, "attentive", EngineEntry(attentive_engine.__name__, weights=False))
    people = [
        {
            "split": split,
            "name": f"{split.title().replace('_', '')}{p}",
            "text": " ".join(s.format(f"fact{n}{p}{k}") for k, s in enumerate(STATEMENTS)),
        }
        for n, split in enumerate(("train_a", "train_b", "test"))
        for p in range(PEOPLE)
    ]
    tasks = [
        {"split": split, "text": f"What should I do about matter {t} of {split}?"}
        for split in ("train_a", "train_b", "test")
        for t in range(TASKS)
    ]
    gold = [
        {"task": task["text"], "persona": person["name"], "text": "Start small."}
        for task in tasks
        for person in people
        if task["split"] == person["split"]
    ]
    for table, rows in (("tasks", tasks), ("personas", people), ("gold_responses", gold)):
        (mini / f"{table}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    model = {"engine": "attentive", "model": "any"}
    experiment = Experiment.model_validate(
        {
            "data_set": "mini",
            "questioner": model,
            "roleplayers": [{"model": model, "replies": "chosen"}],
            "simulation": {"max_turns": 1},
            "evaluation": {"samples": 1, "arms": ["method", "no_questions"]},
        }
    )
    return assemble({"mini": mini_data_set(mini)}, {"loop": experiment}, Path("warehouse"))


@pytest.mark.slow
def test_the_share_of_heard_facts_covers_the_truth(project: Project) -> None:
    with launcher(project, models=True) as launch:
        launch("mini_data", "test")
        launch("loop_evaluate", "0|test")
    tables = read_evaluated_tables(project.warehouse, "loop", project.experiments["loop"])
    report = tables.frame("report")
    heard = project.warehouse.query("FROM loop.heard_statements")
    answers = project.warehouse.query("FROM loop.responses WHERE arm = 'method'")
    assert set(heard["arm"]) == {"method"}
    assert heard["used"].null_count() == 0
    traced = heard.select("task_id", "persona_id").unique()
    using = answers.join(traced, on=traced.columns, how="semi").filter(
        pl.col("text").str.contains("fact")
    )

    found = {
        metric: row
        for metric in ("heard_facts", "heard_facts_by_chance", "heard_facts_nats")
        if (row := metric_row(report, metric, 0)) is not None
    }
    share = found["heard_facts"]
    assert share["pairs"] == traced.height > TASKS * PEOPLE / 2
    assert share["mean"] == pytest.approx(using.height / traced.height)
    assert share["low"] < attentive_engine.SHARE < share["high"]
    assert share["high"] - share["low"] < 0.5
    assert found["heard_facts_by_chance"]["mean"] == 0
    # Of an answer that uses facts, each statement makes one word more probable.
    nats = found["heard_facts_nats"]
    assert nats["mean"] == pytest.approx((KNOWN - UNKNOWN) * share["mean"])
    truth = (KNOWN - UNKNOWN) * attentive_engine.SHARE
    assert nats["low"] < truth < nats["high"]
