"""Several experiments compared: one policy of each, and its differences from the first one's."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from stargate_assets.method.arms import Arm, Reference
from stargate_assets.method.conditions import Condition
from stargate_assets.method.errors import StargateError
from stargate_assets.method.statistics import Estimate, PairValues, paired_difference
from stargate_assets.method.win_rates import WORTH
from stargate_assets.reporting.tables import ExperimentTables, by_pair, first_row, metric_row


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
