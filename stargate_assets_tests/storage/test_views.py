"""Views over real DuckDB files, and the queries that the documentation shows."""

import re
from pathlib import Path

import polars as pl
import pytest

from stargate_assets.method.roleplayer_audit import Fault
from stargate_assets.storage.bookkeeping import Calls
from stargate_assets.storage.completions import FailureRow
from stargate_assets.storage.warehouse import Warehouse
from stargate_assets_tests.conftest import ROOT
from stargate_assets_tests.reporting import frames
from stargate_assets_tests.reporting.outcomes import store_outcomes

QUERIES = re.findall(r"```sql\n(.*?)```", (ROOT / "docs/sql.md").read_text(), re.DOTALL)


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """Two experiments on one data set."""
    warehouse = Warehouse(tmp_path_factory.mktemp("views") / "stargate.duckdb")
    for name, seed in (("embedded", 0), ("no_regularization", 4)):
        tables = frames.audited(frames.tables(name, seed=seed), lambda *_: [Fault.UNSUPPORTED])
        frames.store(tables, warehouse)
    frames.store_chat(warehouse, "embedded")
    frames.store_ratings(warehouse, frames.tables())
    store_outcomes(warehouse, "embedded")
    failed = FailureRow("k", "embedded", "0|test", "judge", "gpt-4", "too_long", "4097 tokens", 1)
    warehouse.write_calls(lambda: Calls(frames.usage_rows("embedded"), [failed]))
    return warehouse


def test_a_policy_leads_to_the_examples_that_it_was_trained_on(warehouse: Warehouse) -> None:
    tables = frames.tables()
    found = warehouse.query("FROM embedded.policy_examples ORDER BY ALL")
    assert found["iteration"].unique().sort().to_list() == [1, 2]
    for policy, split in ((1, "train_a"), (2, "train_b")):
        best = tables.frame("best_conversations").filter(split=split)
        rows = found.filter(iteration=policy)
        assert rows["split"].unique().to_list() == [split]
        assert rows.height == best.height
        assert rows["response"].null_count() == 0


def test_win_rates_by_iteration_are_those_of_all_pairs(warehouse: Warehouse) -> None:
    found = warehouse.query("FROM embedded.win_rate_by_iteration WHERE arm = 'method'")
    rates = frames.tables().headline("win_rates").filter(arm="method", dimension="all")
    assert found["win_rate"].to_list() == rates.sort("iteration")["win_rate"].to_list()


def test_win_rates_by_iteration_are_the_headline_judge_s(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "stargate.duckdb")
    frames.store(frames.with_other_judge(frames.tables(), pl.col("verdict")), warehouse)
    found = warehouse.query("FROM embedded.win_rate_by_iteration")
    assert found["judge"].unique().to_list() == [frames.JUDGE]
    assert found.height == 2 + 2 * 4


def test_tables_of_all_experiments_are_there_once(warehouse: Warehouse) -> None:
    found = warehouse.query(
        "SELECT experiment, count(*) AS rows FROM all_experiments.conversations GROUP BY ALL "
        "ORDER BY ALL"
    )
    assert found.rows() == [("embedded", 320), ("no_regularization", 320)]


def test_a_new_column_and_a_dropped_experiment_leave_the_views_right(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "stargate.duckdb")
    rows = frames.tables().frame("checkpoints")
    for name in ("a", "b'c", "gone"):
        warehouse.write(name, "checkpoints", {"iteration": 0, "split": "train_a"}, rows[:1], "1")
    with warehouse.connect(read_only=False) as connection:
        connection.execute("DROP SCHEMA gone CASCADE")
        connection.execute('ALTER TABLE "a".checkpoints DROP COLUMN steps')
    warehouse.write("a", "checkpoints", {"iteration": 1, "split": "train_b"}, rows[1:], "1")
    found = warehouse.query("FROM all_experiments.checkpoints ORDER BY experiment, iteration")
    assert found.select("experiment", "iteration", "steps").rows() == [
        ("a", 0, None),
        ("a", 1, 17),
        ("b'c", 0, 17),
    ]


def test_there_are_twenty_three_queries() -> None:
    assert len(QUERIES) == 23


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_of_the_documentation_finds_rows(warehouse: Warehouse, query: str) -> None:
    found = warehouse.query(query)
    assert found.height > 0
    assert isinstance(found, pl.DataFrame)
