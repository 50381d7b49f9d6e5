"""The tables, one dataframely schema each: what a frame must be before it is written, and what each
column says.

A table has the name of its asset, in the DuckDB schema of its experiment or data set. Descriptions
are shown in Dagster's column table and are comments in DuckDB.
"""

import dataframely as dy
import polars as pl

from stargate_assets.method.conditions import Condition
from stargate_assets.method.eligibility import Ineligibility
from stargate_assets.method.gold_responses import Exclusion
from stargate_assets.method.judging import Unscored, Verdict
from stargate_assets.storage import columns


class _Split(dy.Schema):
    split = dy.String(primary_key=True, description=columns.SPLIT)


class Tasks(_Split):
    """What users ask for."""

    task_id = dy.String(primary_key=True, description=columns.TASK_ID)
    text = columns.text("The task, as a user would say it")
    domain = dy.String(nullable=True, description="What the task is about, where the source says")
    kind = dy.String(
        nullable=True,
        description="specific if the best answer depends on who asks, general if it hardly does",
    )


class Personas(_Split):
    """Who asks."""

    persona_id = dy.String(primary_key=True, description=columns.PERSONA_ID)
    name = columns.text("The name that the questioner knows")
    text = columns.text("What the persona says of itself, which the questioner never sees")
    source = columns.text(columns.SOURCE)


class GoldResponses(_Split):
    """The best answer to each task for each persona of the split."""

    task_id = dy.String(primary_key=True, description=columns.TASK_ID)
    persona_id = dy.String(primary_key=True, description=columns.PERSONA_ID)
    text = dy.String(nullable=False, description="The gold response")
    source = columns.text(columns.SOURCE)
    exclusion = columns.one_of(Exclusion, "Why it is in no comparison; null if it is in all")


class _Cell(dy.Schema):
    iteration = dy.Int64(primary_key=True, min=0, description=columns.ITERATION)
    split = dy.String(primary_key=True, description=columns.SPLIT)


class _Pair(_Cell):
    task_id = dy.String(primary_key=True, description=columns.TASK_ID)
    persona_id = dy.String(primary_key=True, description=columns.PERSONA_ID)


class _Sample(_Pair):
    sample_number = dy.Int64(primary_key=True, min=0, alias="sample", description=columns.SAMPLE)


class Conversations(_Sample):
    """Simulated conversations between the policy and the Roleplayer."""

    policy = columns.text("SHA-256 of the policy's checkpoint; base for the base model")
    roleplayer = dy.String(nullable=False, description="Who replied, as the experiment calls it")
    questions = dy.List(
        dy.String(nullable=False),
        nullable=False,
        description="What the policy said in each turn, question or not",
    )
    truncated = dy.List(
        dy.Bool(nullable=False),
        nullable=False,
        description="Whether the policy ran into its token limit, by turn",
    )
    answers = dy.List(
        dy.String(nullable=False), nullable=False, description="What was replied in each turn"
    )
    question_rate = dy.Float64(
        nullable=False, min=0, max=1, description="Share of the policy's turns that end by asking"
    )
    ineligibility = columns.one_of(
        Ineligibility, "The first reason why it may not be learnt from; null if it may"
    )


class GoldLogProbs(_Pair):
    """How probable the base model finds the gold response, by condition."""

    condition = columns.one_of(Condition, "What the gold response was scored after (section 5)")
    sample_number = dy.Int64(
        nullable=True,
        alias="sample",
        description=f"{columns.SAMPLE}; null for controls",
    )
    heard_persona_id = dy.String(
        nullable=True, description="Whose conversation was the context; null for controls"
    )
    log_prob = columns.nats("log p(gold response | context), its sum over tokens, in nats", most=0)
    tokens = columns.count("Tokens of the gold response", 1)

    # A pair has many rows here, and a primary key may not be null as the controls' sample is.
    iteration = dy.Int64(nullable=False, min=0, description=columns.ITERATION)
    split = dy.String(nullable=False, description=columns.SPLIT)
    task_id = dy.String(nullable=False, description=columns.TASK_ID)
    persona_id = dy.String(nullable=False, description=columns.PERSONA_ID)


class BestConversations(_Sample):
    """The conversations that are learnt from."""

    rank = columns.count("Place among the conversations of its pair, from 1", 1)
    value = columns.nats(
        "What the objective makes of log_prob, less costs, in nats (mean: nats a token)"
    )
    log_prob = columns.nats("log p(gold response | conversation), in nats", most=0)


class RegularizationResponses(_Sample):
    """What the policy learns to answer after each best conversation."""

    text = dy.String(nullable=False, description="The answer that is learnt")
    truncated = dy.Bool(
        nullable=False, description="Whether it ran into its token limit, and is not learnt"
    )


class Checkpoints(_Cell):
    """The fine-tuned policies."""

    path = columns.text("Directory of the checkpoint, in the warehouse")
    sha256 = dy.String(
        nullable=False, regex="^[0-9a-f]{64}$", description="SHA-256 that its manifest seals"
    )
    question_examples = columns.count("Examples of questions that were learnt")
    answer_examples = columns.count("Examples of answers that were learnt")
    preference_pairs = columns.count("Pairs of questions that were compared")
    steps = columns.count("Optimiser steps", 1)
    losses = dy.List(
        dy.Float64(nullable=False),
        nullable=False,
        description="Loss of each step on examples, in nats a labelled token",
    )
    preference_losses = dy.List(
        dy.Float64(nullable=False),
        nullable=False,
        description="Loss of each step on preferences, in nats a pair",
    )

    @dy.rule()
    def every_step_has_a_loss(cls) -> pl.Expr:
        taken = cls.losses.col.list.len() + cls.preference_losses.col.list.len()
        return cls.steps.col == taken


class _Arm(_Pair):
    arm = columns.arm()


class Responses(_Arm):
    """The answers that are compared."""

    asker = dy.Int64(nullable=True, min=0, description="Index of the policy that asked; or null")
    answerer = columns.count("Index of the policy that answered")
    sample_number = dy.Int64(
        nullable=True,
        min=0,
        alias="sample",
        description=f"{columns.SAMPLE}; null where nobody asked",
    )
    turns = columns.count("Questions of the conversation before it")
    text = dy.String(nullable=False, description="The response")
    truncated = dy.Bool(nullable=False, description="Whether it ran into its token limit")
    refused = dy.Bool(
        nullable=False, description="Whether a content filter stopped it, or its conversation"
    )


class _Judgement(_Pair):
    verdict = columns.one_of(Verdict, "For the response: win, loss or tie; null if it is unscored")
    unscored = columns.one_of(Unscored, "Why there is no verdict; null if there is one")
    preference = columns.nats(
        "For the response: log-odds of its letter in nats; of fit nats a token", nullable=True
    )
    verdict_first = columns.one_of(Verdict, "The verdict when the response stood first")
    verdict_second = columns.one_of(Verdict, "The verdict when the response stood second")

    @dy.rule()
    def verdict_or_reason(cls) -> pl.Expr:
        return cls.verdict.col.is_null() != cls.unscored.col.is_null()


class JudgeAudit(_Judgement):
    """The Judge on pairs of known truth, where a win is right."""

    other_persona_id = dy.String(
        nullable=False, description="Whose gold response this persona's was compared with"
    )


class Judgements(_Arm, _Judgement):
    """Each arm's response against the base model's after its own conversation."""

    turns = columns.count("Questions of the conversation before the response")
    kind = dy.String(nullable=True, description="Kind of the task: specific, general or null")
    comparison_first = dy.String(
        nullable=True, description="What the Judge wrote when the response stood first"
    )
    comparison_second = dy.String(
        nullable=True, description="What the Judge wrote when the response stood second"
    )
    words = columns.count("Words of the response")
    reference_words = columns.count("Words of the base model's response")


class WinRates(_Cell):
    """How often the Judge prefers an arm to the base model."""

    arm = columns.arm()
    dimension = dy.String(
        primary_key=True,
        regex="^(all|turns|kind)$",
        description="What the pairs are grouped by: all, turns or kind of task",
    )
    value = dy.String(primary_key=True, description="Which group; empty for dimension all")
    judge = columns.text("Who judged, as the experiment calls it")
    pairs = columns.count("Pairs of the group, the unscored ones included", 1)
    wins = columns.count("Pairs that the arm won")
    losses = columns.count("Pairs that the arm lost")
    ties = columns.count("Pairs that are tied")
    unscored = columns.count("Pairs without a verdict, which are in no rate")
    win_rate = columns.share("Share of scored pairs that the arm won, ties as half")
    low = columns.share("Low end of its 95 % interval (a share), clustered by task and persona")
    high = columns.share("High end of its 95 % interval (a share), clustered by task and persona")
    naive_low = columns.share("Low end (a share) if pairs were independent")
    naive_high = columns.share("High end (a share) if pairs were independent")
    order_consistency = columns.share("Share of pairs whose two orders have the same verdict")
    position_bias = columns.share("Share of verdicts for what stands first, less 0.5", -0.5)
    longer_wins = columns.share("Share of decided pairs that go to the longer response")
    audit_accuracy = columns.share("Share of known truths that the Judge finds")
    audit_low = columns.share("Low end of its 95 % interval (a share)")
    audit_high = columns.share("High end of its 95 % interval (a share)")

    @dy.rule()
    def every_pair_is_counted(cls) -> pl.Expr:
        return cls.pairs.col == sum(
            (column.col for column in (cls.wins, cls.losses, cls.ties)), cls.unscored.col
        )


class Report(_Split):
    """Estimates over the test cells, by policy and metric."""

    iteration = dy.Int64(primary_key=True, description=columns.ITERATION)
    metric = dy.String(primary_key=True, description="What is estimated; docs/comparing.md")
    mean = dy.Float64(nullable=False, description="Mean over pairs: a share, or nats")
    low = dy.Float64(nullable=False, description="Low end of its 95 % interval: a share, or nats")
    high = dy.Float64(nullable=False, description="High end of its 95 % interval: a share, or nats")
    gain = dy.Float64(nullable=True, description="Paired difference to policy 0: a share, or nats")
    gain_low = dy.Float64(nullable=True, description="Low end of the gain: a share, or nats")
    gain_high = dy.Float64(nullable=True, description="High end of the gain: a share, or nats")
    pairs = columns.count("Pairs that the mean is over", 1)


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


def describe_table(table: str) -> str:
    """What a table holds, in one line."""
    return " ".join((SCHEMAS[table].__doc__ or "").split()).rstrip(".")


def describe_columns(table: str) -> dict[str, str]:
    """What each column of a table says, in one line."""
    return {name: str(column.description) for name, column in SCHEMAS[table].columns().items()}
