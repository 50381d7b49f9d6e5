"""The tables of an experiment up to its checkpoints: simulated, scored, selected, learnt."""

import dataframely as dy
import polars as pl

from stargate_assets.method.conditions import Condition
from stargate_assets.method.eligibility import Ineligibility
from stargate_assets.method.roleplayer_audit import Fault
from stargate_assets.storage.schemas import shared

_NO_CHOICE = "without candidates, as a task's options are, and where one is too long for the model"
_UNSCORED = "where the reply is verbatim or too long for the model"


class Conversations(shared.ConversationRows):
    """Conversations between the policy, which asks, and the Roleplayer, which answers."""

    policy = shared.nonblank("SHA-256 of the checkpoint that asked, or base for the base model")
    roleplayer = dy.String(
        nullable=False,
        description="Label of the roleplayer that answered, empty if nothing was asked",
    )
    questions = dy.List(
        dy.String(nullable=False),
        nullable=False,
        description="What the questioner said, a text for each turn",
    )
    truncated = dy.List(
        dy.Bool(nullable=False),
        nullable=False,
        description="Whether the questioner was cut off at its token limit, for each turn",
    )
    answers = dy.List(
        dy.String(nullable=False),
        nullable=False,
        description="What the roleplayer replied, a text for each turn",
    )
    question_rate = dy.Float64(
        nullable=False,
        min=0,
        max=1,
        description="How many of the questioner's turns end by asking, a share in [0, 1]",
    )
    ineligibility = shared.choice(
        Ineligibility, "Why the conversation may not be learnt from, null if it may"
    )


class RoleplayerAudit(shared.ConversationRows):
    """What is wrong with each reply of a roleplayer, by words, numbers and log-probabilities."""

    turn = dy.Int64(primary_key=True, min=0, description="Turn of the reply, from 0")
    roleplayer = shared.nonblank("Label of the roleplayer that replied")
    replies = shared.choice(("generated", "chosen"), "How that roleplayer replies", nullable=False)
    question = dy.String(nullable=False, description="What the questioner said")
    reply = dy.String(nullable=False, description="What the roleplayer replied")
    faults = dy.List(
        dy.String(nullable=False, regex=shared.match_any(Fault)),
        nullable=False,
        description=f"What is wrong with the reply, empty if nothing is: {', '.join(Fault)}",
    )
    statement = dy.String(
        nullable=True,
        description="The persona's statement that the reply rests on or contradicts, by its words; "
        "null if there is none",
    )
    earlier = dy.String(
        nullable=True,
        description="What the roleplayer had said before in this conversation and now contradicts, "
        "null if nothing",
    )
    unsupported = dy.List(
        dy.String(nullable=False),
        nullable=False,
        description="Words and numbers of the reply that neither persona, task nor question has",
    )
    verbatim = dy.Bool(
        nullable=False,
        description="Whether the reply tells nothing but what the persona says in the same words",
    )
    log_prob = shared.log_prob("reply, after persona and question,", _UNSCORED)
    log_prob_without = shared.log_prob("reply, after the question alone,", _UNSCORED)
    tokens = dy.Int64(
        nullable=True,
        min=1,
        description=f"Length of the reply in tokens of the base model; null {_UNSCORED}",
    )


class GoldLogProbs(shared.PairRows):
    """How probable the base model finds the gold response, by what it has read before."""

    condition = shared.choice(
        Condition,
        "What the base model reads before the gold response",
        nullable=False,
    )
    sample_number = dy.Int64(
        nullable=True,
        alias="sample",
        description="Number of the conversation that was read, from 0; null for the controls",
    )
    heard_persona_id = dy.String(
        nullable=True,
        description="Persona that answered in the conversation; null for the controls",
    )
    log_prob = shared.log_prob()
    tokens = shared.count("Length of the gold response in tokens of the base model", 1)
    choice_log_prob = dy.Float64(
        nullable=True,
        max=0,
        description=f"log_prob normalised over the candidates, in nats; null {_NO_CHOICE}",
    )
    chosen = dy.Bool(
        nullable=True,
        description="Whether the gold response is more probable than each other candidate; null "
        f"{_NO_CHOICE}",
    )

    # A pair has many rows here, and a primary key may not be null as the controls' sample is.
    iteration = shared.iteration(primary_key=False)
    split = shared.split(primary_key=False)
    task_id = shared.task_id(primary_key=False)
    persona_id = shared.persona_id(primary_key=False)


class BestConversations(shared.ConversationRows):
    """The conversations that the next policy learns from: the best of each pair."""

    rank = shared.count("Place among the conversations of the pair, 1 is the best", 1)
    value = dy.Float64(
        nullable=False,
        description="What the conversations were ranked by: log_prob under the objective of "
        "selection, less costs, in nats (objective mean: nats a token)",
    )
    log_prob = shared.log_prob()


class RegularizationResponses(shared.ConversationRows):
    """What the next policy learns to answer after each best conversation."""

    text = dy.String(nullable=False, description="The answer that is learnt")
    truncated = shared.truncated()


class Checkpoints(dy.Schema):
    """The checkpoint trained on each cell, which is the next policy, and its losses."""

    iteration = shared.iteration()
    split = shared.split()
    path = shared.nonblank("Directory of the checkpoint, from the directory of the warehouse")
    sha256 = dy.String(
        nullable=False,
        regex="^[0-9a-f]{64}$",
        description="SHA-256 of the names and contents of the checkpoint's files",
    )
    question_examples = shared.count("Conversations whose questions were learnt")
    answer_examples = shared.count("Answers that were learnt")
    preference_pairs = shared.count(
        "Preferences that were learnt, each a chosen and a rejected turn"
    )
    steps = shared.count("Optimiser steps that were taken", 1)
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
