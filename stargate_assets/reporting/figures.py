"""The figures: of the paper (its numbers stand beside them) and of an experiment's data. Each takes
frames as the warehouse holds them, and gives None where there is nothing to draw.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import polars as pl

from stargate_assets.method.arms import Arm
from stargate_assets.method.scoring import CONTROLS, Condition
from stargate_assets.reporting.style import (
    COLOURS,
    HEIGHT_INCHES,
    INK,
    MARKERS,
    MUTED,
    WIDTH_INCHES,
    Picture,
    Series,
    canvas,
    draw_series,
    percent,
    policies_on,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INCHES_A_BAR = 0.2
LOG_PROB = "log p(gold response), nats"
ARMS = {
    Arm.METHOD: "policy asks and answers",
    Arm.BASE_ANSWERS: "policy asks, base answers",
    Arm.BASE_ASKS: "base asks, policy answers",
    Arm.NO_QUESTIONS: "policy answers at once",
    Arm.INSTRUCTED: "base, told to use what was said",
}
"""Who asks and who answers, in the order of the legend."""
CONDITIONS = {
    Condition.EXPERIMENTAL: "own conversation",
    Condition.RANDOM: "somebody else's",
    Condition.NEGATIVE_CONTROL: "task alone",
    Condition.POSITIVE_CONTROL: "persona and task",
}
"""Of log p(gold response), as figures name them; the paper's Q-experimental, Q-random, controls."""
PAPER_WIN_RATES = (0.68, 0.73, 0.70)
"""Figure 3a, policies 1 to 3 of the method (Andukuri et al., 2024), judged by GPT-4."""


def win_rates_by_experiment(win_rates: Mapping[str, pl.DataFrame]) -> Picture | None:
    """Figures 3a and 3b: the method's win rate against the base model, a line an experiment."""
    figure = _win_rate_curves([_arm(frame, Arm.METHOD, n) for n, frame in win_rates.items()])
    if figure is None:
        return None
    return Picture(
        "win_rates_by_experiment",
        "Win rate by experiment",
        "How often the judge prefers the policy's response, after its own questions, to the base "
        "model's after the base's own. Ties count half; the dashed line is no difference. "
        "Bars are 95 % intervals, clustered by task and persona (figures 3a and 3b of the paper).",
        figure,
    )


def win_rates_by_arm(win_rates: pl.DataFrame, paper: Sequence[float] = ()) -> Picture | None:
    """Figures 3a and 5b: the win rate of each arm, the decomposition into asking and answering.
    `paper` adds the paper's values, for an experiment whose scale they share.
    """
    series = [_arm(win_rates, arm, label) for arm, label in ARMS.items()]
    figure = _win_rate_curves(series, paper, width=1.6 * WIDTH_INCHES)
    if figure is None:
        return None
    return Picture(
        "win_rates_by_arm",
        "Who asks, who answers",
        "Each line is an arm against the same reference: the base model asks and answers. What "
        "remains when the base model answers the policy's conversations is due to the questions "
        "alone (figures 3a and 5b of the paper).",
        figure,
        wide=True,
    )


def log_probs(report: pl.DataFrame, *, controls: bool = False) -> Picture | None:
    """Figures 4a and 5a; with controls 6 and 7: log p(gold response) by policy and condition."""
    wanted = [c for c in CONDITIONS if controls or c not in CONTROLS]
    figure = _curves([_metric(report, c, CONDITIONS[c]) for c in wanted], LOG_PROB)
    if figure is None:
        return None
    if controls:
        return Picture(
            "log_probs_with_controls",
            "Gold response, between the controls",
            "The same with what bounds it: the task alone, and the whole persona in the prompt "
            "(figures 6 and 7 of the paper).",
            figure,
        )
    return Picture(
        "log_probs",
        "Gold response after a conversation",
        "How probable the base model finds the gold response after the policy's conversation with "
        "this person (the paper's Q-experimental), and after one about the same task with somebody "
        "else (Q-random). Higher is better; a gain in the second is not about the person "
        "(figures 4a and 5a of the paper).",
        figure,
    )


def log_probs_by_experiment(reports: Mapping[str, pl.DataFrame]) -> Picture | None:
    """Figure 4b: Q-experimental, a line an experiment. Their scales agree only on one data set and
    one base model.
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
    """The share of the questioner's turns that ask, a line an experiment."""
    series = [_metric(frame, "question_rate", name) for name, frame in reports.items()]
    figure = _curves(series, "turns that are questions", top=1.03)
    if figure is None:
        return None
    return Picture(
        "question_rates",
        "Question rate",
        "The share of the questioner's turns on the test split that end by asking.",
        figure,
    )


def turns_and_lengths(conversations: pl.DataFrame) -> Picture | None:
    """How many turns conversations have, and how many words a turn, by policy."""
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
        percent(left)
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
            right.errorbar(
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
        right.set_title("words of a turn")
        right.set_ylim(bottom=0)
        right.legend(ncols=2, loc="upper left", bbox_to_anchor=(-0.04, -0.2))
        for axes in (left, right):
            policies_on(axes, policies)
            axes.set_xlim(min(policies) - 0.5, max(policies) + 0.5)
    return Picture(
        "turns_and_lengths",
        "Turns and lengths",
        "How many turns the conversations have, and the words of a turn: medians, with the middle "
        "80 % as bars.",
        figure,
    )


def score_distributions(scored: pl.DataFrame, best: pl.DataFrame) -> Picture | None:
    """Scores of kept and rejected conversations of the training cells, each less the mean of its
    pair's eligible conversations: how much there was to select. `scored` is `gold_log_probs`.
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
    """The loss of every step, a curve a cell; of preferences, beside it."""
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
        "The loss of every step, by cell. That of preferences begins at log 2, where the policy "
        "prefers as it did before.",
        figure,
    )


def lengths_and_domains(rows: pl.DataFrame) -> Picture:
    """How long the texts of a table are, and how many there are of each domain, by kind, if the
    table says.
    """
    domains = rows["domain"].drop_nulls() if "domain" in rows.columns else pl.Series()
    height = max(HEIGHT_INCHES, INCHES_A_BAR * domains.n_unique())
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


def _arm(win_rates: pl.DataFrame, arm: str, label: str) -> Series:
    rows = win_rates.filter(
        (pl.col("arm") == arm) & (pl.col("dimension") == "all") & (pl.col("split") == "test")
    ).drop_nulls("win_rate")
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
    """A line for each series that has a policy; `top` is where the axis of a share ends, and
    `behind` draws what the lines are compared with.
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
            percent(axes)
        draw_series(axes, drawn)
    return figure


def _win_rate_curves(
    series: Sequence[Series], paper: Sequence[float] = (), width: float = WIDTH_INCHES
) -> "Figure | None":
    def behind(axes: "Axes") -> None:
        _half(axes)
        _paper(axes, paper)

    return _curves(series, "win rate against the base model", top=1, width=width, behind=behind)


def _half(axes: "Axes") -> None:
    axes.axhline(0.5, color=INK, linewidth=1, linestyle=(0, (4, 3)), zorder=1)


def _paper(axes: "Axes", values: Sequence[float]) -> None:
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


def _quantile(values: Sequence[float], share: float) -> float:
    return float(pl.Series(values, dtype=pl.Float64).quantile(share) or 0.0)


def _edges(values: Sequence[float], bins: int = 30) -> list[float]:
    low, high = min(values), max(values)
    width = (high - low) / bins or 1.0
    return [low + width * number for number in range(bins + 1)]
