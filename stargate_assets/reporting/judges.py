"""What the Judges are worth: their audits, how far they agree, and what the others say."""

from collections.abc import Sequence

import polars as pl

from stargate_assets.method.agreement import Agreement, BothVerdicts, judges_agree
from stargate_assets.method.arms import Arm, Reference
from stargate_assets.method.audits import NO_OWN_TEXT, Audit, audits_of
from stargate_assets.method.judging import Verdict
from stargate_assets.method.statistics import Estimate
from stargate_assets.reporting.quality import NONE, Grid, format_win_rate
from stargate_assets.reporting.tables import ExperimentTables
from stargate_assets.reporting.words import MINUS, percent

AUDITED = (
    "An audit is the share of known winners that a judge finds: of gold responses this person's "
    "against another's, of own text the base model's instructed answer after this person's "
    "conversation against that after another's."
)
AGREED = (
    "Agreement is the share of all comparisons on the test split with the headline judge's "
    "verdict; kappa is 0 where chance explains it, and 1 where all verdicts are the same."
)
HEAD = (*(audit.label for audit in Audit), "agreement", "kappa")


def judge_grids(tables: ExperimentTables) -> list[Grid]:
    """A table of the Judges, and one of the win rates that each finds if there are several."""
    win_rates = tables.tested("win_rates")
    labels = [judge.label for judge in tables.experiment.judges]
    if not labels or not win_rates.height:
        return []
    several = len(labels) > 1
    columns = len(HEAD) if several else len(Audit)
    rows = [[label, *judge_cells(tables, label)[:columns]] for label in labels]
    notes = [AUDITED]
    if Audit.OWN_TEXT not in audits_of(tables.experiment.evaluation.arms):
        notes.append(f"There is {NO_OWN_TEXT}.")
    if several:
        notes.append(AGREED)
    grids = [Grid("Judges", ["judge", *HEAD[:columns]], rows, note=" ".join(notes))]
    if several:
        grids.append(_win_rates_by_judge(win_rates, labels))
    return grids


def judge_cells(tables: ExperimentTables, label: str) -> list[str]:
    """What the table of Judges says of one, in the order of HEAD."""
    audits = audit_estimates(tables.tested("win_rates"), label)
    audited = [
        f"{percent(found.mean)} ({percent(found.low)} to {percent(found.high)})"
        if (found := audits.get(audit))
        else NONE
        for audit in Audit
    ]
    return [*audited, *format_agreement(agreement_with_headline(tables, label))]


def format_agreement(agreement: Agreement | None) -> list[str]:
    """The share of equal verdicts and kappa, each with its interval."""
    if agreement is None:
        return [NONE, NONE]
    low, high = percent(agreement.agreement_low), percent(agreement.agreement_high)
    same = f"{percent(agreement.agreement)} ({low} to {high})"
    found = (agreement.kappa, agreement.kappa_low, agreement.kappa_high)
    numbers = [f"{value:.2f}".replace("-", MINUS) for value in found if value is not None]
    kappa = "{} ({} to {})".format(*numbers) if numbers else NONE
    return [same, kappa]


def audit_estimates(win_rates: pl.DataFrame, label: str) -> dict[Audit, Estimate]:
    """The accuracy of a Judge in each audit, as the latest test cell has it."""
    rows = win_rates.filter(judge=label).sort("iteration").tail(1).to_dicts()
    return {
        audit: Estimate(
            row[f"{audit}_audit"],
            row[f"{audit}_audit_low"],
            row[f"{audit}_audit_high"],
            row["pairs"],
        )
        for row in rows
        for audit in Audit
        if row[f"{audit}_audit"] is not None
    }


def agreement_with_headline(tables: ExperimentTables, label: str) -> Agreement | None:
    """How far a Judge agrees with the headline one in all comparisons on the test split; None of
    the headline Judge itself.
    """
    headline = tables.experiment.judge
    if headline is None or label == headline.label:
        return None
    key = ["task_id", "persona_id", "iteration", "arm", "reference"]
    verdicts = tables.tested("judgements").drop_nulls("verdict").select(*key, "judge", "verdict")
    first, other = (verdicts.filter(judge=judge) for judge in (headline.label, label))
    both: dict[tuple[str, str], list[BothVerdicts]] = {}
    for row in first.join(other, on=key).iter_rows(named=True):
        found = Verdict(row["verdict"]), Verdict(row["verdict_right"])
        both.setdefault((row["task_id"], row["persona_id"]), []).append(found)
    return judges_agree(both)


def _win_rates_by_judge(win_rates: pl.DataFrame, labels: Sequence[str]) -> Grid:
    def cells(iteration: int, arm: Arm, reference: Reference) -> list[str]:
        of_reference = win_rates.filter(reference=reference)
        return [
            format_win_rate(of_reference.filter(judge=label), iteration, arm) for label in labels
        ]

    rows = [
        [str(iteration), arm.label, reference.label, *cells(iteration, arm, reference)]
        for iteration in sorted(win_rates["iteration"].unique())
        for reference in Reference
        for arm in Arm
        if win_rates.filter(iteration=iteration, arm=arm, reference=reference).height
    ]
    return Grid("Win rates by judge", ["policy", "arm", "against", *labels], rows, texts=3)
