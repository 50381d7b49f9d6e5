"""The estimates of the report."""

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from stargate_assets.method.answer_metrics import ANSWER_METRICS, AnswerMetric
from stargate_assets.pipeline.assets import versions
from stargate_assets.pipeline.assets.evaluation import read_evaluated_tables, report_rows
from stargate_assets.reporting.tables import ExperimentTables, metric_row
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
    rows = report_rows(tables).filter(iteration=2, arm="method")
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
    rows = report_rows(tables).filter(metric="answer_words", arm="method").sort("iteration")
    assert rows["mean"].to_list() == [1.0, 1.0, 2.0]
    assert rows["gain"].to_list() == [None, 0.0, 1.0]


def test_answers_are_estimated_in_every_arm_against_policy_0_itself() -> None:
    """The answers of a policy ask, and those of the base model do not; policy 1 uses all of what it
    heard when it had asked, else none.
    """
    tables = frames.tables(tasks=2, people=2)
    by_policy = pl.col("answerer") > 0
    text = pl.when(by_policy).then(pl.lit("Well?")).otherwise(pl.lit("Well."))
    responses = tables.frame("responses").with_columns(text=text)
    used = pl.col("arm").is_in(["method", "base_answers"]) & (pl.col("iteration") == 1)
    statements = tables.frame("heard_statements").with_columns(used=used)
    tables = with_frame(with_frame(tables, "responses", responses), "heard_statements", statements)
    report = report_rows(tables)

    def means(metric: str, iteration: int) -> dict[str, tuple[float, float | None, int]]:
        rows = report.filter(metric=metric, iteration=iteration)
        return {
            arm: numbers
            for arm, *numbers in rows.select("arm", "mean", "gain", "pairs").iter_rows()
        }

    assert means("answers_that_ask", 0) == {
        "method": [0, None, 4], "no_questions": [0, 0, 4], "instructed": [0, 0, 4],
    }  # fmt: skip
    assert means("answers_that_ask", 1) == {
        "method": [1, 1, 4], "base_answers": [0, 0, 4], "base_asks": [1, 1, 4],
        "no_questions": [1, 1, 4],
    }  # fmt: skip
    assert means("heard_facts", 0) == {"method": [0, None, 4], "instructed": [0, 0, 4]}
    assert means("heard_facts", 1) == {
        "method": [1, 1, 4], "base_answers": [1, 1, 4], "base_asks": [0, 0, 4],
    }  # fmt: skip
    assert means("heard_facts_nats", 2)["method"] == [2.5, 2, 4]
    of_conversations = report.filter(pl.col("arm").is_null())
    assert set(of_conversations["metric"]) == {"question_rate", "experimental", "random"}


def test_an_answer_after_a_conversation_that_is_not_there_is_left_out() -> None:
    tables = frames.tables(tasks=2, people=2)
    later = tables.frame("conversations").filter(pl.col("iteration") > 0)
    found = report_rows(with_frame(tables, "conversations", later)).filter(iteration=1)
    arms = set(found["arm"].drop_nulls())
    assert arms == {"method", "base_answers", "no_questions"}


def test_a_report_of_an_older_warehouse_is_made_again_with_its_new_columns(tmp_path: Path) -> None:
    """It had no arm: one row for each policy and metric. Two experiments have one, and one of them
    is reported again.
    """
    warehouse = Warehouse(tmp_path / "stargate.duckdb")
    tables = frames.tables(tasks=2, people=2)
    frames.store(tables, warehouse)
    old = tables.frame("report").filter(pl.col("arm").is_null()).drop("arm")
    with warehouse.connect(read_only=False) as connection:
        connection.register("old", old.to_arrow())
        for name in ("embedded", "another"):
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {name}")
            connection.execute(f"CREATE OR REPLACE TABLE {name}.report AS FROM old")
            connection.execute(
                "INSERT OR REPLACE INTO warehouse.materializations "
                "(schema_name, table_name, slice, version, rows) "
                "VALUES (?, 'report', 'all', '1', 9)",
                [name],
            )
    assert versions.report_is_due(warehouse, "embedded")
    tables = read_evaluated_tables(warehouse, "embedded", tables.experiment)
    report = tables.frame("report")
    assert metric_row(report, "heard_facts", 1) is not None
    warehouse.write("embedded", "report", {}, report, "2")
    assert warehouse.read("embedded", "report", [{}]).equals(
        report.select(*old.columns, "arm"), null_equal=True
    )
    both = warehouse.query(
        "SELECT experiment, arm, count(*) FROM all_experiments.report GROUP BY ALL"
    )
    assert set(both.filter(experiment="another")["arm"]) == {None}
    assert "method" in set(both.filter(experiment="embedded")["arm"])


def test_a_report_is_due_when_its_rules_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = Warehouse(tmp_path / "stargate.duckdb")
    frames.store(frames.tables(tasks=2, people=2), warehouse)
    assert not versions.report_is_due(warehouse, "embedded")
    monkeypatch.setattr(versions, "REPORT_RULES", versions.REPORT_RULES + 1)
    assert versions.report_is_due(warehouse, "embedded")
