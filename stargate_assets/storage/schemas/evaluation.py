"""The tables of an experiment that evaluate its policies: responses, judgements, estimates."""

import dataframely as dy
import polars as pl

from stargate_assets.method.arms import Arm
from stargate_assets.method.audits import Audit
from stargate_assets.method.judging import Unscored, Verdict
from stargate_assets.storage.schemas import shared


class Responses(shared.ArmRows):
    """The response of each arm to each pair, after a conversation or at once."""

    asker = dy.Int64(
        nullable=True,
        min=0,
        description="Number of the policy that asked, null if nobody did",
    )
    answerer = shared.count("Number of the policy that answered")
    sample_number = dy.Int64(
        nullable=True,
        min=0,
        alias="sample",
        description="Number of the asker's conversation that was answered, null if nobody asked",
    )
    turns = shared.turns()
    text = dy.String(nullable=False, description="The response")
    truncated = shared.truncated()
    refused = dy.Bool(
        nullable=False,
        description="Whether a content filter stopped the response or its conversation",
    )


class HeardStatements(shared.ArmRows):
    """What each response makes of each statement that the person had made before it."""

    turn = dy.Int64(
        primary_key=True, min=0, description="Turn in which the statement was made, from 0"
    )
    position = dy.Int64(
        primary_key=True, min=0, description="Place of the statement in the reply, from 0"
    )
    statement = shared.nonblank("What the person said, one sentence")
    terms = dy.List(
        dy.String(nullable=False),
        nullable=False,
        description="Stems of words and numbers that were known from this statement alone",
    )
    used = dy.Bool(
        nullable=True,
        description="Whether the response has one of the terms, null if there are none",
    )
    used_by_chance = dy.Bool(
        nullable=True,
        description="Whether the response to another person with the same task has one of the "
        "terms, null if there are none or no such response",
    )
    log_prob = shared.log_prob(
        "response, after the whole conversation,", "where this or log_prob_without is too long"
    )
    log_prob_without = shared.log_prob(
        "response, after the conversation without the statement,", "where log_prob is null"
    )
    tokens = dy.Int64(
        nullable=True,
        min=1,
        description="Length of the response in tokens of the base model, null where log_prob is",
    )

    @dy.rule()
    def used_where_there_are_terms(cls) -> pl.Expr:
        return cls.used.col.is_null() == (cls.terms.col.list.len() == 0)

    @dy.rule()
    def scored_both_ways_or_neither(cls) -> pl.Expr:
        missing = cls.log_prob.col.is_null()
        return (missing == cls.log_prob_without.col.is_null()) & (
            missing == cls.tokens.col.is_null()
        )


class JudgementRows(shared.PairRows):
    """Either a `verdict` or the reason why the comparison is `unscored`."""

    judge = shared.judge()
    verdict = shared.choice(Verdict, "Of the response over both orders, null if it is unscored")
    unscored = shared.choice(Unscored, "Why there is no verdict, null if there is one")
    preference = dy.Float64(
        nullable=True,
        description="How much the Judge prefers the response, in nats (method choice: log-odds; "
        "fit: difference in nats a token); null if the Judge writes",
    )
    verdict_first = shared.choice(
        Verdict, "Of the response when it stood first, null if it was not asked or not read"
    )
    verdict_second = shared.choice(
        Verdict, "Of the response when it stood second, null if it was not asked or not read"
    )

    @dy.rule()
    def verdict_or_reason(cls) -> pl.Expr:
        return cls.verdict.col.is_null() != cls.unscored.col.is_null()


class JudgeAudit(JudgementRows):
    """A Judge on comparisons with a known winner: a persona's response against another's."""

    audit = dy.String(
        primary_key=True,
        regex=shared.match_any(Audit),
        description="What is compared: gold if gold responses, own_text if the base model's "
        "instructed answers",
    )
    other_persona_id = dy.String(
        nullable=False,
        description="Persona whose response to the same task should lose",
    )


class Judgements(shared.ArmRows, JudgementRows):
    """A Judge's verdict on an arm's response against that of a reference."""

    reference = shared.reference()
    turns = shared.turns()
    kind = shared.kind()
    comparison_first = dy.String(
        nullable=True,
        description="What the Judge wrote when the response stood first, null if it does not write",
    )
    comparison_second = dy.String(
        nullable=True,
        description="What the Judge wrote when the response stood second, null if it does not "
        "write",
    )
    words = shared.count("Length of the response in words")
    reference_words = shared.count("Length of the reference's response in words")


def _kappa(description: str) -> dy.Float64:
    return dy.Float64(
        nullable=True, max=1, description=f"{description}, a share beyond chance; null if none"
    )


class WinRates(dy.Schema):
    """How often each arm's response is preferred to that of a reference, with 95 % intervals."""

    iteration = shared.iteration()
    split = shared.split()
    arm = shared.arm()
    reference = shared.reference()
    dimension = dy.String(
        primary_key=True,
        regex="^(all|turns|kind)$",
        description="What the pairs are grouped by: all, turns or kind",
    )
    value = dy.String(
        primary_key=True,
        description="Number of turns or kind of task of the group, empty for dimension all",
    )
    judge = shared.judge()
    headline = dy.Bool(
        nullable=False,
        description="Whether the Judge is the experiment's `judge`; the others are its "
        "`other_judges`",
    )
    pairs = shared.count("Number of pairs, the unscored included", 1)
    wins = shared.count("Number of pairs that the response wins")
    losses = shared.count("Number of pairs that the response loses")
    ties = shared.count("Number of pairs that are tied")
    unscored = shared.count("Number of pairs without a verdict")
    win_rate = shared.share("Pairs won among those with a verdict, a tie as half")
    low = shared.share("Lower end of the win rate's interval, clustered by task and persona")
    high = shared.share("Upper end of the win rate's interval, clustered by task and persona")
    naive_low = shared.share("Lower end of the interval if all pairs were independent")
    naive_high = shared.share("Upper end of the interval if all pairs were independent")
    order_consistency = shared.share("Pairs with the same verdict in both orders")
    position_bias = dy.Float64(
        nullable=True,
        min=-0.5,
        max=0.5,
        description="Verdicts for the text that stands first, a share less 0.5, in [-0.5, 0.5]; "
        "null if none",
    )
    longer_wins = shared.share("Decided pairs of unequal length that the longer text wins")
    gold_audit = shared.share("Gold responses that the Judge tells from another's, a tie as half")
    gold_audit_low = shared.share("Lower end of the gold audit's interval")
    gold_audit_high = shared.share("Upper end of the gold audit's interval")
    own_text_audit = shared.share(
        "Base model's instructed answers that the Judge tells from those to another persona, a tie "
        "as half"
    )
    own_text_audit_low = shared.share("Lower end of the own-text audit's interval")
    own_text_audit_high = shared.share("Upper end of the own-text audit's interval")
    agreement = shared.share(
        "Pairs with the same verdict as the headline Judge's, where both have one; null of itself"
    )
    agreement_low = shared.share("Lower end of the agreement's interval")
    agreement_high = shared.share("Upper end of the agreement's interval")
    kappa = _kappa("Cohen's kappa of the Judge and the headline Judge: 0 by chance, 1 if all agree")
    kappa_low = _kappa("Lower end of kappa's interval")
    kappa_high = _kappa("Upper end of kappa's interval")

    @dy.rule()
    def every_pair_is_counted(cls) -> pl.Expr:
        return cls.pairs.col == sum(
            (column.col for column in (cls.wins, cls.losses, cls.ties)), cls.unscored.col
        )


_UNIT = "in nats, or a share of turns, choices, answers or statements"


class Report(dy.Schema):
    """The metrics of each policy on the test split, and their gains on policy 0."""

    split = shared.split(primary_key=False)
    iteration = shared.iteration(primary_key=False)
    arm = shared.choice(
        Arm, "Who asks and who answers, null for what no answer shows, conversations and scores"
    )
    metric = dy.String(
        nullable=False,
        description="What is measured: a condition of gold_log_probs, whether the right option was "
        "chosen under it, or what turns or answers show",
    )
    mean = dy.Float64(nullable=False, description=f"Mean over pairs, {_UNIT}")
    low = dy.Float64(nullable=False, description=f"Lower end of the mean's 95 % interval, {_UNIT}")
    high = dy.Float64(nullable=False, description=f"Upper end of the mean's 95 % interval, {_UNIT}")
    gain = dy.Float64(
        nullable=True,
        description=f"Mean of paired differences to policy 0, in its arm method, {_UNIT}; null "
        "for what it is a difference to",
    )
    gain_low = dy.Float64(
        nullable=True,
        description=f"Lower end of the gain's 95 % interval, {_UNIT}; null as the gain is",
    )
    gain_high = dy.Float64(
        nullable=True,
        description=f"Upper end of the gain's 95 % interval, {_UNIT}; null as the gain is",
    )
    pairs = shared.count("Number of pairs that the mean is over", 1)

    # A primary key may not be null, as the arm is.
    @dy.rule()
    def each_estimate_once(cls) -> pl.Expr:
        return pl.len().over("split", "iteration", "arm", "metric") == 1
