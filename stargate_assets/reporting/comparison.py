"""Several experiments compared: one policy of each, and its differences from the first one's."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
from stargate_assets.method.errors import StargateError
from stargate_assets.method.statistics import Estimate, PairValues, paired_difference
from stargate_assets.method.win_rates import WORTH
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
from stargate_assets.reporting.tables import ExperimentTables, by_pair, first_row, metric_row
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


class NotEvaluatedError(StargateError):
    """A policy that is to be compared was not evaluated. The message says what to run."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One policy of an experiment, compared with the first experiment's.

    `differs` lists the settings in which their experiments differ. The differences are paired, on
    the test pairs of both; they are None where nothing can be compared.
    """

    tables: ExperimentTables
    policy: int
    differs: str = ""
    win_rate_difference: Estimate | None = None
    log_prob_difference: Estimate | None = None

    @property
    def name(self) -> str:
        return self.tables.name

    def win_rate(self, arm: Arm, reference: Reference = Reference.BASE) -> Estimate | None:
        win_rates = self.tables.headline("win_rates", reference)
        row: dict[str, Any] | None = first_row(
            win_rates, iteration=self.policy, arm=arm, dimension="all"
        )
        if row is None or row["win_rate"] is None:
            return None
        return Estimate(row["win_rate"], row["low"], row["high"], row["pairs"])

    def metric(self, metric: str, mean: str = "mean", prefix: str = "") -> Estimate | None:
        row: dict[str, Any] | None = metric_row(self.tables.frame("report"), metric, self.policy)
        if row is None or row[mean] is None:
            return None
        return Estimate(row[mean], row[f"{prefix}low"], row[f"{prefix}high"], row["pairs"])

    def gain(self, metric: str) -> Estimate | None:
        """The mean of paired differences to policy 0 of the same experiment, if there are any."""
        return self.metric(metric, "gain", "gain_")


def compare(experiments: Sequence[ExperimentTables], policy: int | None = None) -> list[Compared]:
    """Compare one policy of each experiment with the first experiment's: number `policy`, or the
    latest of each. Raises NotEvaluatedError if an experiment has no such policy.
    """
    first, *others = [Compared(tables, _choose_policy(tables, policy)) for tables in experiments]
    return [
        first,
        *(
            Compared(
                other.tables,
                other.policy,
                "; ".join(differences(_dump_settings(first), _dump_settings(other))),
                _win_rate_difference(first, other),
                _log_prob_difference(first, other),
            )
            for other in others
        ),
    ]


def differences(first: object, other: object, path: str = "") -> Iterator[str]:
    """Yield the path of each field in which two settings differ, with its value in `other`."""
    if isinstance(first, Mapping) and isinstance(other, Mapping):
        for field in {**first, **other}:
            below = f"{path}.{field}" if path else str(field)
            yield from differences(first.get(field), other.get(field), below)
    elif isinstance(first, list) and isinstance(other, list) and len(first) == len(other) == 1:
        yield from differences(first[0], other[0], path)
    elif first != other:
        yield f"{path} {_format_setting(other)}"


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


def _choose_policy(tables: ExperimentTables, wanted: int | None) -> int:
    there = sorted(tables.frame("report")["iteration"].unique())
    if wanted is None:
        return there[-1]
    if wanted not in there:
        raise NotEvaluatedError(
            f"Policy {wanted} of {tables.name} has no test cell; there are policies "
            f"{', '.join(map(str, there))}. Run it first: stargate run {tables.name}."
        )
    return wanted


def _dump_settings(compared: Compared) -> dict[str, Any]:
    return compared.tables.experiment.model_dump(mode="json")


def _format_setting(value: object) -> str:
    """Write the value of a setting in a few words; a model or a role by its name."""
    if isinstance(value, Mapping):
        return _format_setting(value.get("name") or value.get("model"))
    if isinstance(value, list):
        return ", ".join(map(_format_setting, value)) or "none"
    return "none" if value is None or value == "" else str(value)


def _win_rate_difference(first: Compared, other: Compared) -> Estimate | None:
    """How much more often `other` wins, paired. None also where the judges differ, because their
    verdicts cannot be compared.
    """
    judges = [c.tables.experiment.judge for c in (first, other)]
    asked = {(judge.model, judge.method) for judge in judges if judge is not None}
    return (
        paired_difference(_worth_by_pair(other), _worth_by_pair(first)) if len(asked) == 1 else None
    )


def _worth_by_pair(compared: Compared) -> PairValues:
    """What the verdict on the policy's response to each pair is worth: a win 1, a tie 0.5."""
    judged = compared.tables.headline("judgements").filter(
        pl.col("iteration") == compared.policy,
        pl.col("arm") == Arm.METHOD,
        pl.col("verdict").is_not_null(),
    )
    worth = pl.col("verdict").replace_strict(WORTH, return_dtype=pl.Float64)
    return by_pair(judged.with_columns(worth=worth), "worth")


def _log_prob_difference(first: Compared, other: Compared) -> Estimate | None:
    """How much higher `other`'s Q-experimental is, in nats, on pairs with the same gold response.
    None also where the base models differ.
    """
    if first.tables.experiment.questioner != other.tables.experiment.questioner:
        return None
    key = ["task_id", "persona_id"]
    golds = [c.tables.tested("gold_responses").select(*key, "text") for c in (first, other)]
    same = golds[0].join(golds[1], on=[*key, "text"], how="semi")
    found: list[PairValues] = []
    for c in (other, first):
        scored = c.tables.tested("gold_log_probs").filter(
            iteration=c.policy, condition=Condition.EXPERIMENTAL
        )
        found.append(by_pair(scored.join(same, on=key, how="semi"), "log_prob"))
    return paired_difference(*found)


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
