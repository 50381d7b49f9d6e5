"""One look for every figure: palette, type, axes, and how a figure becomes text.

matplotlib is imported where something is drawn, and never its pyplot: nothing global stays behind.
"""

import base64
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH_INCHES, HEIGHT_INCHES = 6.2, 3.6
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""The palette of Okabe and Ito without yellow and black, for every kind of colour vision."""
MARKERS = ("o", "s", "^", "D", "v", "P")
"""A marker for each colour, so that lines differ by more than their colour."""
POINTS_APART = 0.05
INK, MUTED, RULE = "#1c1d20", "#63656b", "#d8d9dd"
DARK = {INK: "#e8e6e1", MUTED: "#a3a5ab", RULE: "#3b3d43", COLOURS[0]: "#4ba3dc"}
"""Colours that are replaced on a dark page, with their replacements."""
_STYLE: dict[Any, Any] = {
    "font.size": 11,
    "font.family": "sans-serif",
    "text.color": INK,
    "text.parse_math": False,  # labels are of data, in which $ is money
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlesize": 11,
    "axes.titleweight": "normal",
    "axes.titlelocation": "left",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "legend.frameon": False,
    "legend.fontsize": 10,
    "lines.linewidth": 1.8,
    "lines.markersize": 6.5,
    "svg.fonttype": "none",  # text stays text, in the reader's own font
    "svg.hashsalt": "stargate",  # the same figure is the same file
}
_FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure with what it says in words: `title` is short, `caption` tells how to read it."""

    name: str
    title: str
    caption: str
    figure: "Figure"
    wide: bool = False
    """Whether it takes the width of two figures."""

    def svg(self) -> str:
        """The figure as SVG for a page, with a transparent background and colours that follow the
        reader's light or dark mode.
        """
        import matplotlib as mpl

        with mpl.rc_context(rc=_STYLE):
            file = io.StringIO()
            self.figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
        text = file.getvalue()
        text = text[text.index("<svg") :]
        for number, light in enumerate(DARK):
            text = text.replace(light, f"var(--c{number})")
        light, dark = (
            "".join(f"--c{number}:{colour};" for number, colour in enumerate(colours))
            for colours in (DARK.keys(), DARK.values())
        )
        style = (
            f"<style>svg{{{light}}}@media(prefers-color-scheme:dark){{svg{{{dark}}}}}"
            f"text{{font-family:{_FONTS}!important;font-variant-numeric:tabular-nums}}</style>"
        )
        end = text.index(">") + 1
        return text[:end] + style + text[end:]

    def data_uri(self) -> str:
        """The SVG as the address of an image."""
        return "data:image/svg+xml;base64," + base64.b64encode(self.svg().encode()).decode()

    def markdown(self) -> str:
        """The figure as a PNG inside Markdown, for Dagster's metadata."""
        import matplotlib as mpl

        picture = io.BytesIO()
        with mpl.rc_context(rc=_STYLE):
            self.figure.savefig(picture, format="png", dpi=110, facecolor="white")
        encoded = base64.b64encode(picture.getvalue()).decode()
        return f"![{self.title}](data:image/png;base64,{encoded})"


@contextmanager
def canvas(
    columns: int = 1, *, width: float = WIDTH_INCHES, height: float = HEIGHT_INCHES
) -> Iterator[tuple["Figure", list["Axes"]]]:
    """Make a figure with `columns` axes side by side, to be drawn on within this context."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(rc=_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, list(figure.subplots(1, columns, squeeze=False)[0])


@dataclass(frozen=True, slots=True)
class Series:
    """One line: a point with an interval for each policy."""

    label: str
    policies: Sequence[int]
    means: Sequence[float]
    lows: Sequence[float]
    highs: Sequence[float]


def draw_series(axes: "Axes", series: Sequence[Series]) -> None:
    """Draw lines over policies with a legend in the order of their last values. The points of one
    policy are drawn beside each other, so that their intervals do not overlap.
    """
    for number, line in enumerate(series):
        shift = (number - (len(series) - 1) / 2) * POINTS_APART
        axes.errorbar(
            [policy + shift for policy in line.policies],
            line.means,
            yerr=[
                [max(0.0, m - low) for m, low in zip(line.means, line.lows, strict=True)],
                [max(0.0, high - m) for m, high in zip(line.means, line.highs, strict=True)],
            ],
            color=COLOURS[number % len(COLOURS)],
            marker=MARKERS[number % len(MARKERS)],
            elinewidth=1.1,
            label=line.label,
        )
    label_policies(axes, sorted({policy for line in series for policy in line.policies}))
    if len(series) > 1:
        last = {line.label: line.means[-1] for line in series}
        drawn = zip(*axes.get_legend_handles_labels(), strict=True)
        ordered = sorted(drawn, key=lambda one: -last.get(one[1], 0.0))
        handles, labels = zip(*ordered, strict=True)
        axes.legend(handles, labels, loc="center left", bbox_to_anchor=(1.01, 0.5))


def label_policies(axes: "Axes", policies: Sequence[int]) -> None:
    """Label the x axis with the numbers of policies, and leave room at both ends."""
    axes.set_xticks(list(policies), [str(policy) for policy in policies])
    axes.set_xlim(min(policies) - 0.25, max(policies) + 0.25)
    axes.set_xlabel("policy")


def label_percent(axes: "Axes", way: Literal["x", "y"] = "y") -> None:
    """Label an axis with percentages."""
    from matplotlib.ticker import PercentFormatter

    axis = axes.xaxis if way == "x" else axes.yaxis
    axis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
