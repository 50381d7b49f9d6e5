"""The tables in which several experiments stand beside each other."""

from collections.abc import Callable, Sequence

import polars as pl

from stargate_assets.method.answer_metrics import (
    ANSWERS_THAT_ASK,
    HEARD_FACTS,
    HEARD_FACTS_BY_CHANCE,
    UNHEARD_FACTS,
    UNHEARD_FACTS_BY_CHANCE,
)
from stargate_assets.method.arms import Arm, Reference
from stargate_assets.method.conditions import CONTROLS, Condition
from stargate_assets.method.statistics import Estimate
from stargate_assets.reporting.comparison import Compared
from stargate_assets.reporting.judges import AGREED, AUDITED, HEAD, judge_cells
from stargate_assets.reporting.metrics import (
    CHOICES_EXPLAINED,
    OF_CHOICES,
    QUESTION_RATE,
    RIGHT_CHOICE,
    format_level,
    metric_labels,
)
from stargate_assets.reporting.quality import NONE, Grid, spent_dollars
from stargate_assets.reporting.raters import BY_PEOPLE
from stargate_assets.reporting.roleplayers import compared_roleplayers
from stargate_assets.reporting.words import count, percent, points, signed

WIN_RATE = "win rate"
OF_ASKING = "win rate of asking"
GAINS = {c: f"{metric_labels()[c]}, gain" for c in (Condition.EXPERIMENTAL, Condition.RANDOM)}
BEHAVIOUR = (
    metric_labels()[QUESTION_RATE],
    metric_labels()[ANSWERS_THAT_ASK],
    f"{metric_labels()[HEARD_FACTS]} (by chance)",
    f"{metric_labels()[UNHEARD_FACTS]} (by chance)",
)
COSTS = ("model calls", "minutes", "training steps", "dollars")


def comparison_grids(compared: Sequence[Compared]) -> list[Grid]:
    """The tables of a comparison: what each policy gained, how it differs from the first
    experiment's, and what it does and costs. A value and its interval are two lines of a cell.
    """
    first, *others = compared
    gains = [
        [
            c.name,
            str(c.policy),
            *(_percent(c.win_rate(arm)) for arm in (Arm.METHOD, Arm.BASE_ANSWERS)),
            _percent(c.win_rate(Arm.METHOD, Reference.BASE_ASKS)),
            *(_nats(c.gain(condition)) for condition in GAINS),
        ]
        for c in compared
    ]
    behaviour = [
        [
            c.name,
            *(_level(c, metric) for metric in (QUESTION_RATE, ANSWERS_THAT_ASK)),
            f"{_level(c, HEARD_FACTS)} ({_level(c, HEARD_FACTS_BY_CHANCE)})",
            f"{_level(c, UNHEARD_FACTS)} ({_level(c, UNHEARD_FACTS_BY_CHANCE)})",
            *_cost_cells(c),
        ]
        for c in compared
    ]
    grids = [
        Grid(
            "What each policy gained",
            ["experiment", "policy", WIN_RATE, Arm.BASE_ANSWERS.label, OF_ASKING, *GAINS.values()],
            gains,
            note="Win rates are against the base model's own answers, those of asking against the "
            "policy's answers after the base model's questions, judged by "
            f"{_judges(compared)}; gains are on policy 0 of the same experiment, in nats.",
        ),
        Grid(
            "What each policy does and costs",
            ["experiment", *BEHAVIOUR, *COSTS],
            behaviour,
            note="Heard and unheard facts mean something where they lie above those by chance. "
            "Costs are those of the experiment without its data set. A call that another "
            "experiment had made before was not made again, and is not counted here.",
        ),
    ]
    if others:
        grids.insert(1, _difference_grid(first, others))
    grids += _choice_grids(compared)
    rows = [
        [c.name, label, *(cell.replace(" (", "\n(") for cell in judge_cells(c.tables, label))]
        for c in compared
        for label in (judge.label for judge in c.tables.experiment.judges)
    ]
    if rows:
        head = ["experiment", "judge", *HEAD]
        grids.append(Grid("Judges", head, rows, texts=2, note=f"{AUDITED} {AGREED}"))
    grids += compared_roleplayers([(c.tables, c.policy) for c in compared])
    for title, head, rows_of in BY_PEOPLE:
        of = [[c.name, str(c.policy), *r] for c in compared for r in rows_of(c.tables, c.policy)]
        if of:
            grids.append(Grid(title, ["experiment", "policy", *head], of))
    return grids


def _choice_grids(compared: Sequence[Compared]) -> list[Grid]:
    """How often the right option is the most probable, of the experiments whose tasks have
    options.
    """
    chosen = RIGHT_CHOICE[Condition.EXPERIMENTAL]
    others = [RIGHT_CHOICE[c] for c in (Condition.RANDOM, *CONTROLS)]
    rows = [
        [
            c.name,
            str(c.policy),
            _percent(c.metric(chosen)),
            _points(c.gain(chosen)),
            *(_percent(c.metric(other)) for other in others),
        ]
        for c in compared
        if c.metric(chosen) is not None
    ]
    head = ["experiment", "policy", OF_CHOICES[chosen], "gain, points"]
    head += [OF_CHOICES[other] for other in others]
    return [Grid("Right choices", head, rows, note=CHOICES_EXPLAINED)] if rows else []


def _judges(compared: Sequence[Compared]) -> str:
    """The headline Judges of the experiments, with whose if they are several."""
    judges = {c.name: c.tables.experiment.judge for c in compared}
    labels = {name: judge.label for name, judge in judges.items() if judge}
    if len(set(labels.values())) > 1:
        return ", ".join(f"{label} ({name})" for name, label in labels.items())
    return next(iter(labels.values()), "nobody")


def _difference_grid(first: Compared, others: Sequence[Compared]) -> Grid:
    """How each policy differs from the first experiment's."""
    paired = [
        [c.name, c.differs or NONE, _points(c.win_rate_difference), _nats(c.log_prob_difference)]
        for c in others
    ]
    return Grid(
        f"Against {first.name}",
        ["experiment", "what differs", f"{WIN_RATE}, points", "Q-experimental, nats"],
        paired,
        texts=2,
        note=f"Paired differences to policy {first.policy} of {first.name}, on the test pairs "
        "that both have. A dash means that they share none, or that the judge, the base model "
        "or the gold responses differ.",
    )


def _percent(value: Estimate | None) -> str:
    return _format_estimate(value, percent)


def _points(value: Estimate | None) -> str:
    return _format_estimate(value, points)


def _nats(value: Estimate | None) -> str:
    return _format_estimate(value, signed)


def _format_estimate(value: Estimate | None, number: Callable[[float], str]) -> str:
    """Write an estimate and its interval in two lines; `number` writes one number."""
    if value is None:
        return NONE
    return f"{number(value.mean)}\n({number(value.low)} to {number(value.high)})"


def _level(compared: Compared, metric: str) -> str:
    value = compared.metric(metric)
    return NONE if value is None else format_level(metric, value.mean)


def _cost_cells(compared: Compared) -> list[str]:
    """Model calls, their minutes, training steps and dollars."""
    used = compared.tables.usage.filter(pl.col("schema_name") == compared.name)
    steps = count(int(compared.tables.frame("checkpoints")["steps"].sum()))
    if not used.height:
        return [NONE, NONE, steps, NONE]
    minutes = f"{used['seconds'].sum() / 60:.1f}"
    spent = spent_dollars(used).replace(" and", "\nand")
    return [count(int(used["calls"].sum())), minutes, steps, spent]
