"""The estimates of the report."""

import polars as pl

from stargate_assets.assets.evaluation import report_rows
from stargate_assets_tests.reporting import frames


def test_a_question_rate_and_its_interval_are_shares() -> None:
    tables = frames.tables(tasks=2, people=2)
    rates = pl.Series([1.0, 0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    conversations = (
        tables.tested("conversations").filter(iteration=0).with_columns(question_rate=rates)
    )
    rows = report_rows(conversations, tables.tested("gold_log_probs"))
    rate = rows.filter(metric="question_rate").row(0, named=True)
    assert rate["mean"] == rates.mean()
    assert 0 <= rate["low"] < rate["mean"] < rate["high"] <= 1
