"""A forest plot of several experiments: what one policy of each gained, with intervals."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from stargate_assets.method.arms import Arm
from stargate_assets.method.conditions import Condition
from stargate_assets.method.statistics import Estimate
from stargate_assets.reporting.comparison import Compared
from stargate_assets.reporting.comparison_grids import WIN_RATE
from stargate_assets.reporting.metrics import metric_labels
from stargate_assets.reporting.style import (
    COLOURS,
    INK,
    MUTED,
    WIDTH_INCHES,
    Picture,
    canvas,
    label_percent,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROW_INCHES = 0.32


def forest(compared: Sequence[Compared]) -> Picture | None:
    """Draw a row for each experiment: its win rate, and its gain of Q-experimental in nats."""
    win_rates = [c.win_rate(Arm.METHOD) for c in compared]
    gains = [c.gain(Condition.EXPERIMENTAL) for c in compared]
    drawn = [
        (values, label, neutral)
        for values, label, neutral in (
            (win_rates, WIN_RATE, 0.5),
            (gains, f"gain of {metric_labels()[Condition.EXPERIMENTAL]}, nats", 0.0),
        )
        if any(values)
    ]
    if not drawn:
        return None
    from matplotlib.ticker import MaxNLocator

    same = len({c.policy for c in compared}) == 1
    names = [c.name if same else f"{c.name}, policy {c.policy}" for c in compared]
    rows = list(range(len(compared)))[::-1]
    size = {"width": 1.15 * WIDTH_INCHES, "height": 0.9 + ROW_INCHES * len(compared)}
    with canvas(len(drawn), **size) as (figure, places):
        for axes, (values, label, neutral) in zip(places, drawn, strict=True):
            axes.axvline(neutral, color=INK, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
            if (first := values[0]) is not None:
                axes.axvline(first.mean, color=COLOURS[1], linestyle=(0, (1, 1.5)), zorder=1)
            _draw_rows(axes, rows, values)
            axes.set_yticks(rows, names if axes is places[0] else [""] * len(rows))
            axes.set_ylim(-0.6, len(rows) - 0.4)
            axes.tick_params(axis="y", length=0, labelsize=11, labelcolor=INK)
            axes.grid(visible=False, axis="y")
            axes.grid(visible=True, axis="x")
            axes.spines["left"].set_color(MUTED)
            axes.set_xlabel(label)
            axes.xaxis.set_major_locator(MaxNLocator(5))
            if neutral:
                label_percent(axes, "x")
    return Picture(
        "comparison",
        "Experiments beside each other",
        "A row for each experiment. How often its judge prefers the policy's response to the base "
        "model's own, and by how much the gold response became more probable after the policy's "
        f"conversations. Bars are 95 % intervals, clustered by task and persona. The dashed line "
        f"is no difference, the dotted one the value of {compared[0].name} (the diamond).",
        figure,
        wide=True,
    )


def _draw_rows(axes: "Axes", rows: Sequence[int], values: Sequence[Estimate | None]) -> None:
    """Draw an estimate and its interval in each row that has one; the first is the diamond."""
    for number, (row, value) in enumerate(zip(rows, values, strict=True)):
        if value is not None:
            axes.errorbar(
                value.mean,
                row,
                xerr=[[value.mean - value.low], [value.high - value.mean]],
                color=COLOURS[0] if number else COLOURS[1],
                marker="o" if number else "D",
            )
