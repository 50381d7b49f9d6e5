"""The paper's figures: curves over policies, with their numbers. Each function takes frames as
the warehouse has them (of win rates those of one Judge and reference on the test split), and
returns None if there is nothing to draw.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import polars as pl

from stargate_assets.method.arms import Arm
from stargate_assets.method.conditions import CONTROLS, TESTED, Condition
from stargate_assets.reporting.metrics import QUESTION_RATE, metric_labels
from stargate_assets.reporting.style import (
    INK,
    MUTED,
    WIDTH_INCHES,
    Picture,
    Series,
    canvas,
    draw_series,
    label_percent,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LOG_PROB = "log p(gold response), nats"
PAPER_WIN_RATES = (0.68, 0.73, 0.70)
"""Figure 3a, policies 1 to 3 of the method (Andukuri et al., 2024), judged by GPT-4."""


def win_rates_by_experiment(win_rates: Mapping[str, pl.DataFrame]) -> Picture | None:
    """Draw figures 3a and 3b: the method's win rate against the base model, by experiment."""
    figure = _win_rate_curves([_arm(frame, Arm.METHOD, n) for n, frame in win_rates.items()])
    if figure is None:
        return None
    return Picture(
        "win_rates_by_experiment",
        "Win rate by experiment",
        "How often the experiment's judge prefers the policy's response, after its own questions, "
        "to the base model's after the base's own. Ties count half; the dashed line is no "
        "difference. "
        "Bars are 95 % intervals, clustered by task and persona (figures 3a and 3b of the paper).",
        figure,
    )


def win_rates_by_arm(win_rates: pl.DataFrame, paper: Sequence[float] = ()) -> Picture | None:
    """Draw figures 3a and 5b: the win rate of each arm, which tells asking from answering. `paper`
    adds the paper's values, for an experiment on the same scale.
    """
    series = [_arm(win_rates, arm, arm.label) for arm in Arm]
    figure = _win_rate_curves(series, paper, width=1.6 * WIDTH_INCHES)
    if figure is None:
        return None
    judge = win_rates["judge"][0]
    return Picture(
        "win_rates_by_arm",
        "Who asks, who answers",
        f"Each line is an arm against the same reference, judged by {judge}: the "
        "base model asks and answers. What "
        "remains when the base model answers the policy's conversations is due to the questions "
        "alone (figures 3a and 5b of the paper).",
        figure,
        wide=True,
    )


def log_probs(report: pl.DataFrame, *, controls: bool = False) -> Picture | None:
    """Draw figures 4a and 5a, or with controls 6 and 7: log p(gold response) by policy and
    condition, in nats.
    """
    wanted = [c for c in TESTED if controls or c not in CONTROLS]
    figure = _curves([_metric(report, c, metric_labels()[c]) for c in wanted], LOG_PROB)
    if figure is None:
        return None
    if controls:
        return Picture(
            "log_probs_with_controls",
            "Gold response, between the controls",
            "The same with what bounds it: the task alone (negative control), and the whole "
            "persona in the prompt (positive control; figures 6 and 7 of the paper).",
            figure,
        )
    return Picture(
        "log_probs",
        "Gold response after a conversation",
        "How probable the base model finds the gold response after the policy's conversation with "
        "this person (Q-experimental), and after one about the same task with somebody else "
        "(Q-random). Higher is better; a gain in the second is not about the person "
        "(figures 4a and 5a of the paper).",
        figure,
    )


def log_probs_by_experiment(reports: Mapping[str, pl.DataFrame]) -> Picture | None:
    """Draw figure 4b: Q-experimental, a line for each experiment. Experiments can be compared only
    if they have the same data set and the same base model.
    """
    series = [_metric(frame, Condition.EXPERIMENTAL, name) for name, frame in reports.items()]
    figure = _curves(series, LOG_PROB)
    if figure is None:
        return None
    return Picture(
        "log_probs_by_experiment",
        "Gold response by experiment",
        "log p(gold response) after each experiment's own conversations (figure 4b of the paper).",
        figure,
    )


def question_rates(reports: Mapping[str, pl.DataFrame]) -> Picture | None:
    """Draw the share of the questioner's turns that ask, a line for each experiment."""
    series = [_metric(frame, QUESTION_RATE, name) for name, frame in reports.items()]
    figure = _curves(series, "turns that are questions", top=1.03)
    if figure is None:
        return None
    return Picture(
        "question_rates",
        "Question rate",
        "The share of the questioner's turns on the test split that end by asking.",
        figure,
    )


def _arm(win_rates: pl.DataFrame, arm: str, label: str) -> Series:
    rows = win_rates.filter(arm=arm, dimension="all").drop_nulls("win_rate")
    return _series(rows, label, "win_rate")


def _metric(report: pl.DataFrame, metric: str, label: str) -> Series:
    return _series(report.filter(pl.col("metric") == metric), label, "mean")


def _series(rows: pl.DataFrame, label: str, mean: str) -> Series:
    columns = ("iteration", mean, "low", "high")
    policies, means, lows, highs = rows.sort("iteration").select(columns).to_dict().values()
    return Series(label, *(list(column) for column in (policies, means, lows, highs)))


def _curves(
    series: Sequence[Series],
    ylabel: str,
    *,
    top: float | None = None,
    width: float = WIDTH_INCHES,
    behind: Callable[["Axes"], None] | None = None,
) -> "Figure | None":
    """Draw a line for each series that has a policy. `top` is the upper end of an axis of shares,
    and `behind` draws what the lines are compared with.
    """
    drawn = [line for line in series if line.policies]
    if not drawn:
        return None
    with canvas(width=width) as (figure, (axes,)):
        axes.set_ylabel(ylabel)
        if behind is not None:
            behind(axes)
        if top is not None:
            axes.set_ylim(0, top)
            label_percent(axes)
        draw_series(axes, drawn)
    return figure


def _win_rate_curves(
    series: Sequence[Series], paper: Sequence[float] = (), width: float = WIDTH_INCHES
) -> "Figure | None":
    def behind(axes: "Axes") -> None:
        _draw_half(axes)
        _draw_paper(axes, paper)

    return _curves(series, "win rate against the base model", top=1, width=width, behind=behind)


def _draw_half(axes: "Axes") -> None:
    axes.axhline(0.5, color=INK, linewidth=1, linestyle=(0, (4, 3)), zorder=1)


def _draw_paper(axes: "Axes", values: Sequence[float]) -> None:
    if values:
        policies = range(1, len(values) + 1)
        axes.plot(
            policies, values, color=MUTED, linestyle=(0, (1, 2)), marker="x", label="the paper"
        )
        axes.annotate(
            "the paper",
            (1, values[0]),
            xytext=(-4, 4),
            textcoords="offset points",
            ha="right",
            color=MUTED,
            fontsize=10,
        )
