"""The report's summary: what was gained, how sure that is, and what to bear in mind."""

from dataclasses import dataclass
from typing import Any

import polars as pl

from stargate_assets.method.answer_metrics import ANSWERS_THAT_ASK, HEARD_FACTS
from stargate_assets.method.arms import Reference
from stargate_assets.method.audits import (
    NO_OWN_TEXT,
    TRUSTED_ACCURACY,
    Audit,
    audits_of,
    deciding_accuracy,
)
from stargate_assets.method.conditions import CONTROLS, Condition
from stargate_assets.reporting.judges import audit_estimates
from stargate_assets.reporting.metrics import QUESTION_RATE, RIGHT_CHOICE, metric_labels
from stargate_assets.reporting.quality import format_row
from stargate_assets.reporting.roleplayers import roleplayer_caveats
from stargate_assets.reporting.tables import ExperimentTables, first_row, metric_row
from stargate_assets.reporting.words import percent, plural, points, signed

EVEN = 0.5
FEW_PAIRS = 100
"""A win rate's 95 % interval is about ten points to each side with this many independent pairs, and
wider with clustered ones.
"""
MOSTLY_LONGER = 0.6


@dataclass(frozen=True, slots=True)
class Figure:
    """A number at the head of the summary, with its interval."""

    label: str
    value: str
    interval: str


@dataclass(frozen=True, slots=True)
class Summary:
    """The summary of an experiment: numbers, sentences on what was found, and caveats."""

    figures: list[Figure]
    findings: list[str]
    caveats: list[str]


def summary(tables: ExperimentTables) -> Summary:
    """Summarise what the latest evaluated policy gained on policy 0, and how sure that is."""
    report, win_rates = tables.frame("report"), tables.headline("win_rates")
    latest = max([0, *report["iteration"], *win_rates["iteration"]])
    figures: list[Figure] = []
    findings: list[str] = []
    if latest == 0:
        findings.append(
            "Only the untrained model has been evaluated so far, so there is nothing to compare."
        )
    else:
        for part in (
            _win_rate(win_rates, latest),
            _questions_alone(win_rates, latest),
            _asking_alone(tables.headline("win_rates", Reference.BASE_ASKS), latest),
            _gold(report, latest),
            _choice(report, latest),
            _asking(report, latest),
        ):
            figures += part[0]
            findings += part[1]
    numbers, sentences = _audits(tables)
    return Summary([*figures, *numbers], [*findings, *sentences], _caveats(tables, latest))


Part = tuple[list[Figure], list[str]]
"""Numbers and sentences of a summary; both are empty if there is nothing to say."""


def _win_rate(win_rates: pl.DataFrame, latest: int) -> Part:
    row = _find_win_rate(win_rates, latest, "method")
    if row is None:
        return [], []
    low, high = percent(row["low"]), percent(row["high"])
    sure = _choose_by_side(
        row,
        "The interval lies above one half: it is better on tasks and people like these.",
        "The interval lies below one half: it is worse.",
        "The interval includes one half, so these data do not tell the two apart.",
    )
    return [Figure("win rate", percent(row["win_rate"]), f"{low} to {high}")], [
        f"Policy {latest} wins {percent(row['win_rate'])} of its comparisons with the base model "
        f"({low} to {high}; judged by {row['judge']}; {plural(row['pairs'], 'pair')}, "
        f"{row['wins']} won, {row['losses']} lost, {row['ties']} tied). {sure}"
    ]


def _choose_by_side(row: dict[str, Any], above: str, below: str, around: str) -> str:
    """What is said of a win rate by where its interval lies, of one half."""
    if row["low"] > EVEN:
        return above
    return below if row["high"] < EVEN else around


def _questions_alone(win_rates: pl.DataFrame, latest: int) -> Part:
    row = _find_win_rate(win_rates, latest, "base_answers")
    if row is None:
        return [], []
    part = _choose_by_side(
        row,
        "so the questions alone help",
        "so the questions alone do harm",
        "which does not show that the questions alone help",
    )
    return [], [
        "When the base model answers after the policy's questions it wins "
        f"{format_row(row)}, {part}."
    ]


def _asking_alone(win_rates: pl.DataFrame, latest: int) -> Part:
    row = _find_win_rate(win_rates, latest, "method")
    if row is None:
        return [], []
    part = _choose_by_side(
        row,
        "so it asks better",
        "so it asks worse",
        "which does not tell their questions apart",
    )
    return [], [
        f"When the policy answers after its own questions it wins {format_row(row)} against its "
        f"answers after the base model's, {part}."
    ]


def _gold(report: pl.DataFrame, latest: int) -> Part:
    own = metric_row(report, "experimental", latest)
    if own is None or own["gain"] is None:
        return [], []
    row: dict[str, Any] = own
    interval = f"{signed(row['gain_low'])} to {signed(row['gain_high'])}"
    clear = row["gain_low"] > 0 or row["gain_high"] < 0
    more = "more probable" if row["gain"] > 0 else "less probable"
    text = (
        f"After its conversations the base model finds the gold response "
        f"{more if clear else 'neither more nor less probable, as far as these data tell'}: "
        f"{signed(row['gain'])} nats a response ({interval})"
    )
    whole: dict[str, Any] | None = metric_row(report, "positive_control", 0)
    before: dict[str, Any] | None = metric_row(report, "experimental", 0)
    if whole and before and whole["mean"] > before["mean"] and row["gain_low"] > 0:
        share = row["gain"] / (whole["mean"] - before["mean"])
        text += f", {percent(share)} of what reading the whole persona would add"
    findings = [text + "."]
    other: dict[str, Any] | None = metric_row(report, "random", latest)
    if other and other["gain"] is not None:
        findings.append(
            f"After conversations with somebody else it changed by {signed(other['gain'])} nats "
            f"({signed(other['gain_low'])} to {signed(other['gain_high'])})"
            + (
                ": a part of the gain is not about the person."
                if other["gain_low"] > 0
                else ": what was gained is about the person."
                if row["gain_low"] > 0
                else "."
            )
        )
    return [Figure("gold response, nats", signed(row["gain"]), interval)], findings


def _choice(report: pl.DataFrame, latest: int) -> Part:
    """How often the right option is the most probable after the policy's conversations, and what
    that is between.
    """
    metric = RIGHT_CHOICE[Condition.EXPERIMENTAL]
    now: dict[str, Any] | None = metric_row(report, metric, latest)
    before: dict[str, Any] | None = metric_row(report, metric, 0)
    if now is None or before is None or now["gain"] is None:
        return [], []
    mean, low, high = (percent(now[column]) for column in ("mean", "low", "high"))
    gain, gain_low, gain_high = (points(now[c]) for c in ("gain", "gain_low", "gain_high"))
    findings = [
        f"After its conversations the right option is the most probable in {mean} of cases "
        f"({low} to {high}), after the base model's in {percent(before['mean'])}: {gain} points "
        f"({gain_low} to {gain_high})."
    ]
    alone: dict[str, Any] | None
    whole: dict[str, Any] | None
    alone, whole = (metric_row(report, RIGHT_CHOICE[control], 0) for control in CONTROLS)
    if alone and whole:
        findings.append(
            f"After the task alone it is in {percent(alone['mean'])}, and after task and persona "
            f"in {percent(whole['mean'])}."
        )
    return [Figure("right choice", mean, f"{low} to {high}")], findings


def _asking(report: pl.DataFrame, latest: int) -> Part:
    """How often the policy asks, in its turns, where it should, and in its answers, where not; and
    what its answers use of the replies.
    """
    figures: list[Figure] = []
    findings: list[str] = []
    for metric, sentence in (
        (QUESTION_RATE, "It asks in {} of its turns; the base model in {}."),
        (ANSWERS_THAT_ASK, "Of its answers {} end by asking; of the base model's {}."),
        (HEARD_FACTS, "Its answers use {} of what the person has told it; the base model's {}."),
    ):
        now: dict[str, Any] | None = metric_row(report, metric, latest)
        before: dict[str, Any] | None = metric_row(report, metric, 0)
        if now is None or before is None:
            continue
        mean = percent(now["mean"])
        findings.append(sentence.format(mean, percent(before["mean"])))
        if metric == QUESTION_RATE:
            interval = f"{percent(now['low'])} to {percent(now['high'])}"
            figures.append(Figure(metric_labels()[metric], mean, interval))
    return figures, findings


def _audits(tables: ExperimentTables) -> Part:
    """How often the headline Judge finds a known truth."""
    judge = tables.experiment.judge
    found = audit_estimates(tables.tested("win_rates"), judge.label) if judge else {}
    deciding = deciding_accuracy(found)
    if judge is None or deciding is None:
        return [], []
    trust = (
        "good enough to rely on the win rates"
        if deciding.low >= TRUSTED_ACCURACY
        else "too few to rely on the win rates, which are weak evidence"
        if deciding.mean < TRUSTED_ACCURACY
        else "usable, but the interval is wide"
    )
    intervals = {audit: f"{percent(e.low)} to {percent(e.high)}" for audit, e in found.items()}
    told = " and ".join(
        f"{percent(e.mean)} of pairs of {audit.label} ({intervals[audit]})"
        for audit, e in found.items()
    )
    sentences = [f"Where the truth is known, the judge {judge.label} finds it in {told}: {trust}."]
    if Audit.OWN_TEXT not in audits_of(tables.experiment.evaluation.arms):
        sentences.append(f"There is {NO_OWN_TEXT}.")
    figures = [
        Figure(f"audit on {audit.label}", percent(e.mean), intervals[audit])
        for audit, e in found.items()
    ]
    return figures, sentences


def _caveats(tables: ExperimentTables, latest: int) -> list[str]:
    win_rates, responses = tables.headline("win_rates"), tables.tested("responses")
    caveats: list[str] = []
    row = _find_win_rate(win_rates, latest, "method")
    if row is not None:
        here = responses.filter(pl.col("iteration") == latest)
        tasks, people = here["task_id"].n_unique(), here["persona_id"].n_unique()
        caveats.append(
            f"Intervals are clustered: {plural(row['pairs'], 'pair')} come from {tasks} tasks and "
            f"{people} people. Taken as independent rows they would be {percent(row['naive_low'])} "
            f"to {percent(row['naive_high'])}."
        )
        if row["pairs"] < FEW_PAIRS:
            caveats.append(
                f"{plural(row['pairs'], 'pair')} are few: small differences cannot be found."
            )
        if row["unscored"]:
            caveats.append(
                f"{plural(row['unscored'], 'verdict')} of policy {latest} could not be read or "
                "were refused. They are left out of the win rates and counted below."
            )
        if row["position_bias"] is not None:
            consistent = row["order_consistency"]
            caveats.append(
                f"The judge prefers the response that stands first by "
                f"{points(row['position_bias'])} points"
                + (
                    f", and gives the same verdict in both orders in {percent(consistent)} of pairs"
                    if consistent is not None
                    else ""
                )
                + ". It always judges both orders."
            )
        if (row["longer_wins"] or 0) > MOSTLY_LONGER:
            caveats.append(
                f"{percent(row['longer_wins'])} of decided verdicts go to the longer response: "
                "length may explain a part of the win rate."
            )
    elif not win_rates.height:
        caveats.append("Nothing was judged: there are no win rates.")
    excluded = tables.tested("gold_responses")["exclusion"].count()
    if excluded:
        caveats.append(
            f"{plural(excluded, 'gold response')} of the test split "
            f"{'is' if excluded == 1 else 'are'} excluded from all log-probabilities."
        )
    judge = tables.experiment.judge
    if judge is not None and judge.model == tables.experiment.questioner:
        caveats.append("The judge is the questioner's own base model.")
    return caveats + roleplayer_caveats(tables, latest)


def _find_win_rate(win_rates: pl.DataFrame, iteration: int, arm: str) -> dict[str, Any] | None:
    """The row of an arm over all pairs; None if it has no win rate."""
    row = first_row(win_rates, iteration=iteration, arm=arm, dimension="all")
    return None if row is None or row["win_rate"] is None else row
