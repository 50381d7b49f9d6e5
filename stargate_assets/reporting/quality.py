"""The report's tables of numbers: decomposition, data quality, costs, configuration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
import yaml

from stargate_assets.method.arms import Arm, Reference
from stargate_assets.method.judging import Unscored, Verdict
from stargate_assets.method.plan import SPLITS
from stargate_assets.reporting.metrics import (
    CHOICES_EXPLAINED,
    EXPLAINED,
    OF_CHOICES,
    OF_CONVERSATIONS,
    OF_NO_POLICY,
    format_change,
    format_level,
    is_share,
)
from stargate_assets.reporting.tables import ExperimentTables, first_row
from stargate_assets.reporting.words import (
    count,
    dollars,
    percent,
    plural,
)

NONE = "–"
DECOMPOSITION = (
    ("nobody asks", "no_questions", "no_questions"),
    ("the base model asks", None, "base_asks"),
    ("the policy asks", "base_answers", "method"),
)
"""Who asks, and the arms in which then the base model and the policy answer. None is the reference.
The base model answering at once is `no_questions` of policy 0.
"""


@dataclass(frozen=True, slots=True)
class Grid:
    """A table as the page and the terminal show it. Its first `texts` columns hold words, the
    others numbers.
    """

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    texts: int = 1
    note: str = ""


def decomposition(tables: ExperimentTables) -> list[Grid]:
    """Asking by answering, for each policy: the share won against the base model doing both; and
    what asking is worth where the policy answers.
    """
    win_rates = tables.headline("win_rates")
    of_asking = tables.headline("win_rates", Reference.BASE_ASKS)
    grids: list[Grid] = []
    for policy in sorted(win_rates.filter(pl.col("iteration") > 0)["iteration"].unique()):
        rows: list[list[str]] = []
        for who, base_arm, policy_arm in DECOMPOSITION:
            base_cell = 0 if base_arm == "no_questions" else policy
            base = (
                f"{percent(0.5)} reference"
                if base_arm is None
                else format_win_rate(win_rates, base_cell, base_arm)
            )
            rows.append([who, base, format_win_rate(win_rates, policy, policy_arm)])
        rows.append(
            ["the base model asks, and is told to use what was said",
             format_win_rate(win_rates, 0, "instructed"), NONE]
        )  # fmt: skip
        asking = format_win_rate(of_asking, policy, Arm.METHOD)
        if asking != NONE:
            rows.append(["the policy asks, against the base model asking", NONE, asking])
        head = ["", "the base model answers", f"policy {policy} answers"]
        judge = win_rates["judge"][0]
        grids.append(Grid(f"Policy {policy}, judged by {judge}", head, rows))
    return grids


def format_win_rate(win_rates: pl.DataFrame, iteration: int, arm: str, **values: str) -> str:
    """A win rate with its interval."""
    where = {"dimension": "all"} | values
    row: dict[str, Any] | None = first_row(win_rates, iteration=iteration, arm=arm, **where)
    if row is None or row["win_rate"] is None:
        return NONE
    return format_row(row)


def format_row(row: Mapping[str, Any]) -> str:
    """The win rate that a row of `win_rates` has, with its interval."""
    return f"{percent(row['win_rate'])} ({percent(row['low'])} to {percent(row['high'])})"


def breakdown(tables: ExperimentTables) -> list[Grid]:
    """A table of the method's win rates by number of questions and by kind of task."""
    rows = tables.headline("win_rates").filter(
        pl.col("arm") == "method", pl.col("dimension") != "all"
    )
    policies = sorted(rows["iteration"].unique())
    if not policies:
        return []
    lines = [
        [
            plural(int(value), "question") if dimension == "turns" else f"{value} tasks",
            *(
                format_win_rate(rows, p, "method", dimension=dimension, value=value)
                for p in policies
            ),
        ]
        for dimension, value in rows.select("dimension", "value")
        .unique()
        .sort("dimension", "value", descending=[True, False])
        .iter_rows()
    ]
    title = f"Where it wins, judged by {rows['judge'][0]}"
    return [Grid(title, ["", *(f"policy {p}" for p in policies)], lines)]


def estimates(tables: ExperimentTables) -> list[Grid]:
    """A table of what conversations show and how they score: means on the test split, and gains,
    with intervals.
    """
    report = tables.frame("report")
    lines: list[list[str]] = []
    for metric, name in (OF_CONVERSATIONS | OF_CHOICES).items():
        rows = report.filter(pl.col("metric") == metric).sort("iteration")
        if metric in OF_NO_POLICY:
            rows = rows.head(1)  # they depend on no policy
        for row in rows.iter_rows(named=True):
            gain = NONE
            if row["gain"] is not None:
                low, high = (format_change(metric, row[end]) for end in ("gain_low", "gain_high"))
                unit = " points" if is_share(metric) else ""
                gain = f"{format_change(metric, row['gain'])} ({low} to {high}){unit}"
            mean, low, high = (
                format_level(metric, row[column]) for column in ("mean", "low", "high")
            )
            shown = f"{mean} ({low} to {high})"
            policy = NONE if metric in OF_NO_POLICY else str(row["iteration"])
            lines.append([name, policy, shown, gain, count(row["pairs"])])
    head = ["", "policy", "mean", "gain on policy 0", "pairs"]
    chosen = report["metric"].is_in(list(OF_CHOICES)).any()
    note = f"{EXPLAINED} {CHOICES_EXPLAINED}" if chosen else EXPLAINED
    return [Grid("Estimates", head, lines, note=note)] if lines else []


def data_quality(tables: ExperimentTables) -> list[Grid]:
    """Tables that count what was left out of training and of comparisons, by reason."""
    return [
        *_conversation_counts(tables),
        *_comparison_counts(tables),
        *_gold_response_counts(tables),
    ]


def _conversation_counts(tables: ExperimentTables) -> list[Grid]:
    conversations = tables.frame("conversations")
    best, answers = tables.frame("best_conversations"), tables.frame("regularization_responses")
    reasons = sorted(conversations["ineligibility"].drop_nulls().unique())
    lines: list[list[str]] = []
    for (iteration, split), cell in conversations.group_by("iteration", "split"):
        here = {"iteration": iteration, "split": split}
        kept = best.filter(**here)
        pairs = cell.select("task_id", "persona_id").n_unique()
        without = pairs - kept.select("task_id", "persona_id").n_unique()
        lines.append(
            [
                f"{iteration}|{split}",
                count(cell.height),
                count(cell["ineligibility"].null_count()),
                *(count(int((cell["ineligibility"] == reason).sum())) for reason in reasons),
                count(pairs),
                count(kept.height) if kept.height else NONE,
                count(without) if kept.height else NONE,
                count(int(answers.filter(**here)["truncated"].sum())) if kept.height else NONE,
            ]
        )
    head = ["cell", "conversations", "eligible", *(r.replace("_", " ") for r in reasons), "pairs"]
    head += ["kept", "pairs without one", "answers cut off"]
    note = (
        "Each ineligible conversation is counted once, by the first reason in order of its turns."
    )
    return [Grid("Conversations", head, sorted(lines), note=note)] if lines else []


def _comparison_counts(tables: ExperimentTables) -> list[Grid]:
    judgements, responses = tables.frame("judgements"), tables.frame("responses")
    lines: list[list[str]] = []
    by = ("iteration", "split", "arm", "reference", "judge")
    for (iteration, split, arm, reference, judge), rows in judgements.group_by(by):
        texts = responses.filter(iteration=iteration, split=split, arm=arm)
        unscored = rows["unscored"]
        lines.append(
            [
                f"{iteration}|{split}",
                str(arm).replace("_", " "),
                str(reference).replace("_", " "),
                str(judge),
                count(rows.height),
                *(count(int((rows["verdict"] == v).sum())) for v in Verdict),
                *(count(int((unscored == reason).sum())) for reason in Unscored),
                count(int((texts["text"].str.strip_chars() == "").sum())),
                count(int(texts["truncated"].sum())),
            ]
        )
    head = [
        "cell",
        "arm",
        "reference",
        "judge",
        "pairs",
        "won",
        "lost",
        "tied",
        "unparsed",
        "refused",
        "empty",
        "cut off",
    ]
    note = "Unparsed and refused verdicts are left out of win rates. An empty response loses."
    return [Grid("Comparisons", head, sorted(lines), texts=4, note=note)] if lines else []


def _gold_response_counts(tables: ExperimentTables) -> list[Grid]:
    gold = tables.frame("gold_responses")
    reasons = sorted(gold["exclusion"].drop_nulls().unique())
    lines: list[list[str]] = []
    for split in SPLITS:
        rows = gold.filter(split=split)
        if rows.height:
            counts = [count(int((rows["exclusion"] == reason).sum())) for reason in reasons]
            lines.append([split, count(rows.height), *counts])
    head = ["split", "gold responses", *(f"excluded: {reason}" for reason in reasons)]
    note = "" if reasons else "No gold response is excluded."
    return [Grid("Gold responses", head, lines, note=note)] if lines else []


def costs(tables: ExperimentTables) -> list[Grid]:
    """A table of model calls by role and model, those of the data set included."""
    if not tables.usage.height:
        return []
    lines: list[list[str]] = []
    for (role, model), rows in tables.usage.group_by("role", "model"):
        lines.append([str(role), str(model), *_usage_cells(rows)])
    lines.sort()
    lines.append(["all", "", *_usage_cells(tables.usage)])
    head = ["role", "model", "calls", "prompt tokens", "completion tokens", "minutes", "dollars"]
    note = "Dollars are unknown where no price was configured."
    return [Grid("Model calls", head, lines, texts=2, note=note)]


def _usage_cells(rows: pl.DataFrame) -> list[str]:
    totals = (rows[c].sum() for c in ("calls", "prompt_tokens", "completion_tokens"))
    minutes = f"{rows['seconds'].sum() / 60:.1f}"
    return [*(count(int(total)) for total in totals), minutes, spent_dollars(rows)]


def spent_dollars(rows: pl.DataFrame) -> str:
    """Write the dollars of these rows of `warehouse.usage`, and whether some calls have no known
    price.
    """
    known, unknown = rows["dollars"].sum(), rows["dollars"].null_count()
    spent = "unknown" if unknown == rows.height else dollars(float(known))
    return f"{spent} and unknown" if 0 < unknown < rows.height else spent


def provenance(tables: ExperimentTables) -> list[Grid]:
    """Tables of the versions of what the report was made from, and of the policies' checkpoints."""
    slices = [
        [f"{schema}.{table}", where, version, count(rows)]
        for schema, table, where, version, rows in tables.written.select(
            "schema_name", "table_name", "slice", "version", "rows"
        )
        .sort("schema_name", "table_name", "slice")
        .iter_rows()
    ]
    policies = [
        [f"{iteration}|{split}", path, sha256]
        for iteration, split, path, sha256 in tables.frame("checkpoints")
        .sort("iteration", "split")
        .select("iteration", "split", "path", "sha256")
        .iter_rows()
    ]
    grids = [Grid("Tables", ["table", "slice", "version", "rows"], slices, texts=3)]
    if policies:
        grids.insert(0, Grid("Checkpoints", ["cell", "directory", "SHA-256"], policies, texts=3))
    return grids


def configuration(tables: ExperimentTables) -> str:
    """All settings of the experiment, as YAML."""
    stated = tables.experiment.model_dump(mode="json")
    return yaml.safe_dump(stated, sort_keys=False, allow_unicode=True, width=90)
