"""The tables, one dataframely schema each: what a frame must be before it is written.

A table has the name of its asset, in the DuckDB schema of its experiment or data set.
"""

from enum import StrEnum

import dataframely as dy
import polars as pl

from stargate_assets.method.arms import Arm
from stargate_assets.method.conditions import Condition
from stargate_assets.method.eligibility import Ineligibility
from stargate_assets.method.gold_responses import Exclusion
from stargate_assets.method.judging import Unscored, Verdict


def _text() -> dy.String:
    return dy.String(nullable=False, regex=r"\S")


def _values(enum: type[StrEnum]) -> dy.String:
    return dy.String(regex=f"^({'|'.join(enum)})$", nullable=enum is not Condition)


class Tasks(dy.Schema):
    """`kind` is specific if the best answer depends on who asks, general if it hardly does."""

    split = dy.String(primary_key=True)
    task_id = dy.String(primary_key=True)
    text = _text()
    domain = dy.String(nullable=True)
    kind = dy.String(nullable=True)


class Personas(dy.Schema):
    split = dy.String(primary_key=True)
    persona_id = dy.String(primary_key=True)
    name = _text()
    text = _text()
    source = _text()


class GoldResponses(dy.Schema):
    """A row with an `exclusion` is kept to be looked at and is in no comparison."""

    split = dy.String(primary_key=True)
    task_id = dy.String(primary_key=True)
    persona_id = dy.String(primary_key=True)
    text = dy.String(nullable=False)
    source = _text()
    exclusion = _values(Exclusion)


class _Pair(dy.Schema):
    iteration = dy.Int64(primary_key=True, min=0)
    split = dy.String(primary_key=True)
    task_id = dy.String(primary_key=True)
    persona_id = dy.String(primary_key=True)


class _Sample(_Pair):
    sample_number = dy.Int64(primary_key=True, min=0, alias="sample")


class Conversations(_Sample):
    policy = _text()
    roleplayer = dy.String(nullable=False)
    questions = dy.List(dy.String(nullable=False), nullable=False)
    truncated = dy.List(dy.Bool(nullable=False), nullable=False)
    answers = dy.List(dy.String(nullable=False), nullable=False)
    question_rate = dy.Float64(nullable=False, min=0, max=1)
    ineligibility = _values(Ineligibility)


class GoldLogProbs(_Pair):
    """Controls have no sample and no heard persona; `log_prob` is in nats over `tokens` tokens."""

    condition = _values(Condition)
    sample_number = dy.Int64(nullable=True, alias="sample")
    heard_persona_id = dy.String(nullable=True)
    log_prob = dy.Float64(nullable=False, max=0)
    tokens = dy.Int64(nullable=False, min=1)

    # A pair has many rows here, and a primary key may not be null as the controls' sample is.
    iteration = dy.Int64(nullable=False, min=0)
    split = dy.String(nullable=False)
    task_id = dy.String(nullable=False)
    persona_id = dy.String(nullable=False)


class BestConversations(_Sample):
    """`value` is what the objective of selection makes of `log_prob`, less its costs."""

    rank = dy.Int64(nullable=False, min=1)
    value = dy.Float64(nullable=False)
    log_prob = dy.Float64(nullable=False, max=0)


class RegularizationResponses(_Sample):
    text = dy.String(nullable=False)
    truncated = dy.Bool(nullable=False)


class Checkpoints(dy.Schema):
    """The loss of every step: `losses` of examples in nats a labelled token, `preference_losses` in
    nats a pair.
    """

    iteration = dy.Int64(primary_key=True, min=0)
    split = dy.String(primary_key=True)
    path = _text()
    sha256 = dy.String(nullable=False, regex="^[0-9a-f]{64}$")
    question_examples = dy.Int64(nullable=False, min=0)
    answer_examples = dy.Int64(nullable=False, min=0)
    preference_pairs = dy.Int64(nullable=False, min=0)
    steps = dy.Int64(nullable=False, min=1)
    losses = dy.List(dy.Float64(nullable=False), nullable=False)
    preference_losses = dy.List(dy.Float64(nullable=False), nullable=False)

    @dy.rule()
    def every_step_has_a_loss(cls) -> pl.Expr:
        taken = cls.losses.col.list.len() + cls.preference_losses.col.list.len()
        return cls.steps.col == taken


class _Arm(_Pair):
    arm = dy.String(primary_key=True, regex=f"^({'|'.join(Arm)})$")


class Responses(_Arm):
    """Who asked and who answered, by policy; nobody asked and no sample where the answer came at
    once. `turns` are those of the conversation before it.
    """

    asker = dy.Int64(nullable=True, min=0)
    answerer = dy.Int64(nullable=False, min=0)
    sample_number = dy.Int64(nullable=True, min=0, alias="sample")
    turns = dy.Int64(nullable=False, min=0)
    text = dy.String(nullable=False)
    truncated = dy.Bool(nullable=False)
    refused = dy.Bool(nullable=False)


class _Judgement(_Pair):
    """Either a `verdict` or the reason why it is `unscored`. `verdict_first` and `verdict_second`
    are what was said when the response stood first, and second; `preference` is for the response,
    in nats.
    """

    verdict = _values(Verdict)
    unscored = _values(Unscored)
    preference = dy.Float64(nullable=True)
    verdict_first = _values(Verdict)
    verdict_second = _values(Verdict)

    @dy.rule()
    def verdict_or_reason(cls) -> pl.Expr:
        return cls.verdict.col.is_null() != cls.unscored.col.is_null()


class JudgeAudit(_Judgement):
    """Of this persona's gold response against another persona's: a win is the truth."""

    other_persona_id = dy.String(nullable=False)


class Judgements(_Arm, _Judgement):
    """Of an arm's response against the reference, the base model's on its own conversation."""

    turns = dy.Int64(nullable=False, min=0)
    kind = dy.String(nullable=True)
    comparison_first = dy.String(nullable=True)
    comparison_second = dy.String(nullable=True)
    words = dy.Int64(nullable=False, min=0)
    reference_words = dy.Int64(nullable=False, min=0)


def _share(low: float = 0) -> dy.Float64:
    return dy.Float64(nullable=True, min=low, max=low + 1)


class WinRates(dy.Schema):
    """`value` is empty for dimension all. Low and high are clustered by task and persona, the naive
    ones take pairs for independent; `pairs` counts the unscored too. The audit is the Judge's
    accuracy on pairs of known truth.
    """

    iteration = dy.Int64(primary_key=True, min=0)
    split = dy.String(primary_key=True)
    arm = dy.String(primary_key=True, regex=f"^({'|'.join(Arm)})$")
    dimension = dy.String(primary_key=True, regex="^(all|turns|kind)$")
    value = dy.String(primary_key=True)
    judge = _text()
    pairs = dy.Int64(nullable=False, min=1)
    wins = dy.Int64(nullable=False, min=0)
    losses = dy.Int64(nullable=False, min=0)
    ties = dy.Int64(nullable=False, min=0)
    unscored = dy.Int64(nullable=False, min=0)
    win_rate = _share()
    low = _share()
    high = _share()
    naive_low = _share()
    naive_high = _share()
    order_consistency = _share()
    position_bias = _share(-0.5)
    longer_wins = _share()
    audit_accuracy = _share()
    audit_low = _share()
    audit_high = _share()

    @dy.rule()
    def every_pair_is_counted(cls) -> pl.Expr:
        return cls.pairs.col == sum(
            (column.col for column in (cls.wins, cls.losses, cls.ties)), cls.unscored.col
        )


class Report(dy.Schema):
    split = dy.String(primary_key=True)
    iteration = dy.Int64(primary_key=True)
    metric = dy.String(primary_key=True)
    mean = dy.Float64(nullable=False)
    low = dy.Float64(nullable=False)
    high = dy.Float64(nullable=False)
    gain = dy.Float64(nullable=True)
    gain_low = dy.Float64(nullable=True)
    gain_high = dy.Float64(nullable=True)
    pairs = dy.Int64(nullable=False, min=1)


SCHEMAS: dict[str, type[dy.Schema]] = {
    "tasks": Tasks,
    "personas": Personas,
    "gold_responses": GoldResponses,
    "conversations": Conversations,
    "gold_log_probs": GoldLogProbs,
    "best_conversations": BestConversations,
    "regularization_responses": RegularizationResponses,
    "checkpoints": Checkpoints,
    "responses": Responses,
    "judge_audit": JudgeAudit,
    "judgements": Judgements,
    "win_rates": WinRates,
    "report": Report,
}
