"""The estimates of the report."""

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from stargate_assets.method.answer_metrics import ANSWER_METRICS, AnswerMetric
from stargate_assets.pipeline.assets import versions
from stargate_assets.pipeline.assets.evaluation import report_rows
from stargate_assets.reporting.tables import ExperimentTables
from stargate_assets.storage.warehouse import Warehouse
from stargate_assets_tests.reporting import frames


def with_frame(tables: ExperimentTables, name: str, frame: pl.DataFrame) -> ExperimentTables:
    return replace(tables, frames={**tables.frames, name: frame})


def test_a_question_rate_and_its_interval_are_shares() -> None:
    tables = frames.tables(tasks=2, people=2)
    rates = pl.Series([1.0, 0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    conversations = (
        tables.tested("conversations").filter(iteration=0).with_columns(question_rate=rates)
    )
    responses = tables.tested("responses").filter(iteration=0)
    tables = with_frame(with_frame(tables, "conversations", conversations), "responses", responses)
    rate = report_rows(tables).filter(metric="question_rate").row(0, named=True)
    assert rate["mean"] == rates.mean()
    assert 0 <= rate["low"] < rate["mean"] < rate["high"] <= 1


def test_what_answers_show_is_counted_by_pair() -> None:
    """Of policy 2's four answers one asks, two state what Ineke did not say, one of these what
    Tomás did not say, and one tells Tomás of Ineke.
    """
    tables = frames.tables(tasks=2, people=2)
    nothing = pl.lit(["Well."], dtype=pl.List(pl.String))
    conversations = tables.frame("conversations").with_columns(answers=nothing, questions=nothing)
    said = {
        ("test-t0", "test-p0"): "Take a train to Groningen?",
        ("test-t0", "test-p1"): "Start small.",
        ("test-t1", "test-p0"): "Sing, alto, with your daughters.",
        ("test-t1", "test-p1"): "Move to Groningen.",
    }
    own = (pl.col("iteration") == 2) & (pl.col("arm") == "method")
    keys = pl.concat_str("task_id", "persona_id", separator=" ")
    texts = keys.replace_strict({" ".join(key): text for key, text in said.items()}, default="No.")
    responses = tables.frame("responses").with_columns(
        text=pl.when(own).then(texts).otherwise(pl.lit("No."))
    )
    tables = with_frame(with_frame(tables, "conversations", conversations), "responses", responses)
    rows = report_rows(tables).filter(pl.col("iteration") == 2)
    found = {row["metric"]: (row["mean"], row["gain"]) for row in rows.iter_rows(named=True)}
    assert found["answers_that_ask"] == (0.25, 0.25)
    assert found["unheard_facts"] == (0.5, 0.5)
    assert found["unheard_facts_by_chance"] == (0.5, 0.5)


def test_a_new_metric_of_answers_is_in_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    metric = AnswerMetric("words", lambda answered: len(answered.text.split()), share=False)
    monkeypatch.setitem(ANSWER_METRICS, "answer_words", metric)
    tables = frames.tables(tasks=2, people=2)
    words = pl.when(pl.col("iteration") == 2).then(pl.lit("One two.")).otherwise(pl.lit("One."))
    tables = with_frame(tables, "responses", tables.frame("responses").with_columns(text=words))
    rows = report_rows(tables).filter(metric="answer_words").sort("iteration")
    assert rows["mean"].to_list() == [1.0, 1.0, 2.0]
    assert rows["gain"].to_list() == [None, 0.0, 1.0]


def test_a_report_is_due_when_its_rules_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = Warehouse(tmp_path / "stargate.duckdb")
    frames.store(frames.tables(tasks=2, people=2), warehouse)
    assert not versions.report_is_due(warehouse, "embedded")
    monkeypatch.setattr(versions, "REPORT_RULES", versions.REPORT_RULES + 1)
    assert versions.report_is_due(warehouse, "embedded")
