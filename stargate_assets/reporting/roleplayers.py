"""What the Roleplayers' replies are worth: how many have which fault, and whether faults could
explain what was gained.
"""

from collections.abc import Callable, Sequence

import polars as pl

from stargate_assets.method.conditions import Condition
from stargate_assets.method.roleplayer_audit import Fault
from stargate_assets.method.statistics import (
    Estimate,
    PairValues,
    clustered_share,
    paired_difference,
    two_way_clustered,
)
from stargate_assets.reporting.metrics import metric_labels
from stargate_assets.reporting.quality import NONE, Grid
from stargate_assets.reporting.tables import ExperimentTables, by_pair, metric_row
from stargate_assets.reporting.words import nats, percent, points, signed

TITLE = "Replies of the roleplayer"
ANY = "any fault"
AUDITED = (
    "Shares of replies on the test split, with intervals clustered by task and persona; the last "
    "column is the latest policy's difference from policy 0."
)
COMPARED = ("experiment", "roleplayer", ANY, "against policy 0", "gain without faults")
SAMPLE = ("iteration", "split", "task_id", "persona_id", "sample")


def roleplayer_grids(tables: ExperimentTables) -> list[Grid]:
    """A table of the faults of each Roleplayer's replies by policy, with Q-experimental of the
    conversations that have none.
    """
    audit = tables.tested("roleplayer_audit")
    policies = sorted(audit["iteration"].unique())
    if not policies:
        return []
    found = [fault for fault in Fault if audit["faults"].list.contains(fault).any()]
    rows: list[list[str]] = []
    of_each = audit.group_by("roleplayer", "replies")
    for (roleplayer, replies), of_one in sorted(of_each, key=lambda found: found[0]):
        for fault in (None, *found):
            shares = {p: _faulty(of_one.filter(iteration=p), fault) for p in policies}
            cells = [_cell(of_p and clustered_share(of_p), percent) for of_p in shares.values()]
            change = _change(shares, policies[-1], points)
            rows.append([f"{roleplayer} ({replies}): {_label(fault)}", *cells, change])
    scores = {p: _scores_without_faults(tables, p) for p in policies}
    cells = [_cell(of_p and two_way_clustered(of_p), nats) for of_p in scores.values()]
    label = f"{metric_labels()[Condition.EXPERIMENTAL]} without faults, nats"
    rows.append([label, *cells, _change(scores, policies[-1], signed)])
    head = ["replies", *(f"policy {p}" for p in policies), "against policy 0"]
    never = ", ".join(_label(fault) for fault in Fault if fault not in found)
    note = f"{AUDITED} No reply has these faults: {never}." if never else AUDITED
    return [Grid(TITLE, head, rows, note=note)]


def compared_roleplayers(compared: Sequence[tuple[ExperimentTables, int]]) -> list[Grid]:
    """A table of several experiments' Roleplayers, each at one policy; none without an audit."""
    rows = [row for tables, policy in compared if (row := _compared_row(tables, policy))]
    note = (
        "Shares of replies with a fault, in points against policy 0 of the same experiment; the "
        "gain is that of Q-experimental, in nats, on conversations whose replies have none."
    )
    return [Grid(TITLE, COMPARED, rows, texts=2, note=note)] if rows else []


def _compared_row(tables: ExperimentTables, policy: int) -> list[str]:
    """In the order of COMPARED; empty if the replies were not audited."""
    audit = tables.tested("roleplayer_audit")
    here = audit.filter(iteration=policy)
    if not here.height:
        return []
    shares = {p: _faulty(audit.filter(iteration=p)) for p in {0, policy}}
    scores = {p: _scores_without_faults(tables, p) for p in {0, policy}}
    return [
        tables.name,
        ", ".join(sorted(here["roleplayer"].unique())),
        _cell(clustered_share(shares[policy]), percent),
        _change(shares, policy, points),
        _change(scores, policy, signed),
    ]


def roleplayer_caveats(tables: ExperimentTables, latest: int) -> list[str]:
    """A warning where faulty replies could explain a gain: they are more or fewer than policy 0's,
    or nothing is sure to be gained where there are none.
    """
    audit = tables.tested("roleplayer_audit")
    now, before = (_faulty(audit.filter(iteration=p)) for p in (latest, 0))
    if latest == 0 or not now or not before:
        return []
    caveats: list[str] = []
    change = paired_difference(now, before)
    if change is not None and (change.low > 0 or change.high < 0):
        caveats.append(
            f"{percent(clustered_share(now).mean)} of the roleplayer's replies to policy {latest} "
            f"have a fault, and {percent(clustered_share(before).mean)} of those to policy 0 "
            f"({points(change.low)} to {points(change.high)} points): replies may explain a part "
            "of what was gained."
        )
    gain = metric_row(tables.frame("report"), Condition.EXPERIMENTAL, latest)
    is_gain = gain is not None and isinstance(low := gain["gain_low"], float) and low > 0
    if is_gain and any(now.values()):
        scores = (_scores_without_faults(tables, p) for p in (latest, 0))
        clean = paired_difference(*scores)
        if clean is None or clean.low <= 0:
            found = (
                f"the gain is {signed(clean.mean)} nats ({signed(clean.low)} to "
                f"{signed(clean.high)})"
                if clean is not None
                else "no pair can be compared"
            )
            caveats.append(
                f"On conversations whose replies have no fault {found}: faulty replies may explain "
                "what was gained, or these conversations are too few."
            )
    return caveats


def _faulty(audit: pl.DataFrame, fault: Fault | None = None) -> PairValues:
    """The share of replies with a fault, or with any, for each pair."""
    faults = pl.col("faults").list
    has = faults.len() > 0 if fault is None else faults.contains(fault)
    return by_pair(audit.with_columns(has=has.cast(pl.Float64)), "has")


def _scores_without_faults(tables: ExperimentTables, policy: int) -> PairValues:
    """Q-experimental of each pair's conversations in which no reply has a fault."""
    audit = tables.tested("roleplayer_audit").filter(iteration=policy)
    clean = audit.group_by(SAMPLE).agg(pl.col("faults").list.len().sum() == 0).filter("faults")
    scored = tables.tested("gold_log_probs").filter(condition=Condition.EXPERIMENTAL)
    return by_pair(scored.join(clean, on=SAMPLE, how="semi"), "log_prob")


def _label(fault: Fault | None) -> str:
    return ANY if fault is None else fault.replace("_", " ")


def _change(of_policy: dict[int, PairValues], policy: int, number: Callable[[float], str]) -> str:
    """How a policy differs from policy 0."""
    if policy == 0 or not of_policy.get(0):
        return NONE
    return _cell(paired_difference(of_policy[policy], of_policy[0]), number)


def _cell(value: Estimate | PairValues | None, number: Callable[[float], str]) -> str:
    """An estimate and its interval in two lines."""
    if not isinstance(value, Estimate):
        return NONE
    return f"{number(value.mean)}\n({number(value.low)} to {number(value.high)})"
