"""The tables of a Roleplayer's faults, and the warnings, by value."""

from dataclasses import replace

import polars as pl
import pytest

from stargate_assets.method.roleplayer_audit import Fault
from stargate_assets.reporting.comparison import compare
from stargate_assets.reporting.comparison_grids import comparison_grids
from stargate_assets.reporting.roleplayers import TITLE, roleplayer_caveats, roleplayer_grids
from stargate_assets.reporting.summary import summary
from stargate_assets.reporting.tables import ExperimentTables
from stargate_assets_tests.reporting import frames


def never(policy: int, sample: int, task: str) -> list[str]:
    del policy, sample, task
    return []


def later(policy: int, sample: int, task: str) -> list[str]:
    """Every first conversation with a later policy has one."""
    del task
    return [Fault.UNSUPPORTED] if policy and sample == 0 else []


@pytest.fixture(scope="module")
def tables() -> ExperimentTables:
    return frames.tables()


def plain(cell: str) -> str:
    return cell.replace("\u202f", " ")


def test_shares_of_replies_stand_by_policy_with_their_change(tables: ExperimentTables) -> None:
    (grid,) = roleplayer_grids(frames.audited(tables, later))
    rows = {row[0]: [plain(cell).partition("\n")[0] for cell in row[1:]] for row in grid.rows}
    replies = tables.tested("conversations").filter(pl.col("iteration") > 0)
    by_pair = replies.group_by("iteration", "task_id", "persona_id").agg(
        answers := pl.col("answers").list.len().sum(),
        first=pl.col("answers").list.len().filter(pl.col("sample") == 0).sum(),
    )
    del answers
    share = by_pair.group_by("iteration").agg((pl.col("first") / pl.col("answers")).mean())
    shares = {p: f"{100 * of:.0f} %" for p, of in share.iter_rows()}
    assert rows["chooser (generated): any fault"][:3] == ["0 %", shares[1], shares[2]]
    assert rows["chooser (generated): unsupported"] == rows["chooser (generated): any fault"]
    assert rows["chooser (generated): any fault"][3] == f"+{shares[2].split()[0]}"
    assert grid.note.endswith(
        "No reply has these faults: contradicts persona, contradicts itself, unasked, carries out "
        "task, copies persona, speaks as assistant."
    )


def test_without_faults_all_conversations_count_and_nothing_is_warned_of(
    tables: ExperimentTables,
) -> None:
    clean = frames.audited(tables, never)
    (grid,) = roleplayer_grids(clean)
    own = tables.frame("report").filter(metric="experimental", iteration=2).row(0, named=True)
    scored = tables.tested("gold_log_probs").filter(iteration=2, condition="experimental")
    means = scored.group_by("task_id", "persona_id").agg(pl.col("log_prob").mean())
    assert grid.rows[-1][3].startswith(f"{means['log_prob'].mean():.1f}".replace("-", "−"))
    assert own["gain"] is not None
    assert roleplayer_caveats(clean, 2) == []
    assert roleplayer_caveats(tables, 2) == []
    assert roleplayer_grids(tables) == []


def test_a_warning_says_that_faults_differ_between_policies(tables: ExperimentTables) -> None:
    found = roleplayer_caveats(frames.audited(tables, later), 2)
    assert "of those to policy 0" in found[0]
    assert "0\u202f% of those to policy 0" in found[0]
    assert found[0] in summary(frames.audited(tables, later)).caveats


def test_a_warning_says_that_nothing_is_sure_to_be_gained_without_faults(
    tables: ExperimentTables,
) -> None:
    """All tasks but one have a fault with every policy, so their number is the same."""
    gained = tables.frame("report").with_columns(
        gain_low=pl.when(metric="experimental").then(1.0).otherwise(pl.col("gain_low"))
    )
    tables = replace(tables, frames={**tables.frames, "report": gained})
    (one,) = roleplayer_caveats(frames.audited(tables, lambda *_: [Fault.UNASKED]), 2)
    assert one.startswith("On conversations whose replies have no fault no pair can be compared")


def test_a_comparison_has_a_row_for_each_audited_experiment(tables: ExperimentTables) -> None:
    other = frames.tables("other")
    grids = comparison_grids(compare([frames.audited(tables, later), other]))
    (grid,) = [grid for grid in grids if grid.title == TITLE]
    (row,) = grid.rows
    assert row[:2] == [tables.name, "chooser"]
    assert row[3].startswith("+")
    assert [g.title for g in comparison_grids(compare([tables, other]))].count(TITLE) == 0
