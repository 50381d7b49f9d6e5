"""Figures of an experiment's data. Each function takes frames as the warehouse has them, and
returns None if there is nothing to draw.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import polars as pl

from stargate_assets.method.conditions import Condition
from stargate_assets.reporting.style import (
    COLOURS,
    HEIGHT_INCHES,
    INK,
    MARKERS,
    MUTED,
    WIDTH_INCHES,
    Picture,
    canvas,
    label_percent,
    label_policies,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INCHES_PER_BAR = 0.2


def turns_and_lengths(conversations: pl.DataFrame) -> Picture | None:
    """Draw how many turns conversations have, and how many words a turn has, by policy."""
    if not conversations.height:
        return None
    policies = sorted(conversations["iteration"].unique())
    with canvas(2, height=HEIGHT_INCHES + 0.3) as (figure, (left, right)):
        turns = conversations.with_columns(turns=pl.col("questions").list.len())
        kinds = sorted(turns["turns"].unique())
        bottom = [0.0] * len(policies)
        for number, kind in enumerate(kinds):
            shares = [
                float((turns.filter(iteration=policy)["turns"] == kind).mean() or 0)  # pyright: ignore[reportArgumentType]
                for policy in policies
            ]
            label = f"{kind} turn{'s' if kind != 1 else ''}"
            colour = COLOURS[number % len(COLOURS)]
            left.bar(policies, shares, 0.6, bottom=bottom, label=label, color=colour)
            bottom = [a + b for a, b in zip(bottom, shares, strict=True)]
        left.set_title("turns of a conversation")
        left.legend(ncols=len(kinds), loc="upper left", bbox_to_anchor=(-0.04, -0.2))
        label_percent(left)
        _draw_words(right, conversations, policies)
        right.set_title("words of a turn")
        right.set_ylim(bottom=0)
        right.legend(ncols=2, loc="upper left", bbox_to_anchor=(-0.04, -0.2))
        for axes in (left, right):
            label_policies(axes, policies)
            axes.set_xlim(min(policies) - 0.5, max(policies) + 0.5)
    return Picture(
        "turns_and_lengths",
        "Turns and lengths",
        "How many turns the conversations have, and the words of a turn: medians, with the middle "
        "80 % as bars.",
        figure,
    )


def _draw_words(axes: "Axes", conversations: pl.DataFrame, policies: Sequence[int]) -> None:
    """Draw the median words of questions and of answers, with the middle 80 % as bars."""
    for number, (column, label) in enumerate((("questions", "asked"), ("answers", "answered"))):
        words = [
            conversations.filter(iteration=policy)[column]
            .explode()
            .drop_nulls()
            .str.count_matches(r"\S+")
            .to_list()
            for policy in policies
        ]
        medians = [_quantile(of, 0.5) for of in words]
        axes.errorbar(
            [policy + (number - 0.5) * 0.12 for policy in policies],
            medians,
            yerr=[
                [m - _quantile(of, 0.1) for m, of in zip(medians, words, strict=True)],
                [_quantile(of, 0.9) - m for m, of in zip(medians, words, strict=True)],
            ],
            color=COLOURS[number],
            marker=MARKERS[number],
            elinewidth=1.1,
            label=label,
        )


def score_distributions(scored: pl.DataFrame, best: pl.DataFrame) -> Picture | None:
    """Draw the scores of kept and rejected conversations of the training cells, each less the mean
    of its pair's eligible conversations, in nats. `scored` is the table gold_log_probs.
    """
    pair = ["iteration", "split", "task_id", "persona_id"]
    own = scored.filter(pl.col("condition") == Condition.EXPERIMENTAL).join(
        best.select(*pair[:2]).unique(), on=pair[:2], how="semi"
    )
    several = own.with_columns(
        above=pl.col("log_prob") - pl.col("log_prob").mean().over(pair),
        eligible=pl.len().over(pair),
    ).filter(pl.col("eligible") > 1)
    if not several.height:
        return None
    key = [*pair, "sample"]
    kept = several.join(best.select(key), on=key, how="semi")["above"].to_list()
    rejected = several.join(best.select(key), on=key, how="anti")["above"].to_list()
    from matplotlib.ticker import MaxNLocator

    edges = _edges([*kept, *rejected])
    with canvas() as (figure, (axes,)):
        for values, label, colour in ((rejected, "rejected", MUTED), (kept, "kept", COLOURS[0])):
            axes.hist(values, edges, color=colour, alpha=0.6, label=f"{label}, {len(values)}")
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.set(xlabel="nats above the mean of the pair", ylabel="conversations")
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(ncols=2, loc="lower left", bbox_to_anchor=(-0.02, 1.0))
    return Picture(
        "score_distributions",
        "Kept and rejected conversations",
        "log p(gold response) after each eligible training conversation, less the mean of its "
        "pair. The further the kept ones lie to the right, the more there was to learn from.",
        figure,
    )


def training_loss(checkpoints: pl.DataFrame) -> Picture | None:
    """Draw the loss of every step, a curve for each cell; that of preferences in a second panel."""
    panels = {"losses": "loss, nats a token", "preference_losses": "loss, nats a preference"}
    drawn = {c: label for c, label in panels.items() if checkpoints[c].list.len().sum()}
    if not drawn:
        return None
    from matplotlib.ticker import MaxNLocator

    rows = checkpoints.sort("iteration", "split")
    with canvas(len(drawn)) as (figure, places):
        for axes, (column, label) in zip(places, drawn.items(), strict=True):
            curves = rows.select("iteration", "split", column).iter_rows()
            for number, (iteration, split, losses) in enumerate(curves):
                style = {"color": COLOURS[number % len(COLOURS)], "linewidth": 1.4}
                if len(losses) == 1:
                    style["marker"] = MARKERS[number % len(MARKERS)]
                steps = range(1, len(losses) + 1)
                axes.plot(steps, losses, label=f"{iteration}|{split}", **style)
            axes.set(xlabel="step", ylabel=label)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        places[0].legend(ncols=3, loc="lower left", bbox_to_anchor=(-0.02, 1.0))
    return Picture(
        "training_loss",
        "Training loss",
        "The loss of every step, by cell. That of preferences starts at log 2, where the policy "
        "prefers what it preferred before training.",
        figure,
    )


def lengths_and_domains(rows: pl.DataFrame) -> Picture:
    """Draw how long the texts of a table are and, if it has domains, how many rows each has, by
    kind.
    """
    domains = rows["domain"].drop_nulls() if "domain" in rows.columns else pl.Series()
    height = max(HEIGHT_INCHES, INCHES_PER_BAR * domains.n_unique())
    with canvas(2 if len(domains) else 1, width=WIDTH_INCHES + 1, height=height) as (figure, axes):
        axes[0].hist(rows["text"].str.len_chars(), bins=20, color=COLOURS[0])
        axes[0].set(xlabel="characters", ylabel="rows")
        if len(domains):
            kinds = rows.with_columns(pl.col("kind").fill_null("not said"))
            names, left = sorted(domains.unique(), reverse=True), [0] * domains.n_unique()
            for number, (kind,) in enumerate(sorted(kinds.select("kind").unique().iter_rows())):
                counts = [kinds.filter(domain=domain, kind=kind).height for domain in names]
                axes[1].barh(names, counts, left=left, label=kind, color=COLOURS[number % 6])
                left = [a + b for a, b in zip(left, counts, strict=True)]
            axes[1].set(xlabel="rows")
            axes[1].grid(visible=False)
            axes[1].tick_params(axis="y", labelsize="small")
            axes[1].legend(ncols=3, loc="lower left", bbox_to_anchor=(0, 1))
    return Picture(
        "lengths_and_domains",
        "lengths and domains",
        "Lengths of the texts, and rows of each domain by kind.",
        figure,
    )


def _quantile(values: Sequence[float], share: float) -> float:
    return float(pl.Series(values, dtype=pl.Float64).quantile(share) or 0.0)


def _edges(values: Sequence[float], bins: int = 30) -> list[float]:
    low, high = min(values), max(values)
    width = (high - low) / bins or 1.0
    return [low + width * number for number in range(bins + 1)]
