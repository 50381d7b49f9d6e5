"""What is too long for a model to score has no score, and takes nothing else with it."""

from collections.abc import Sequence

import pytest

from stargate_assets.method.arms import Arm, Players, Response
from stargate_assets.method.conditions import Condition
from stargate_assets.method.heard import trace_statements
from stargate_assets.method.judging import Comparison, Unscored, Verdict, judge
from stargate_assets.method.language_model import (
    Failure,
    FailureReason,
    Sampling,
    Score,
    ScoreRequest,
    find_too_long,
)
from stargate_assets.method.prompts import SHIPPED
from stargate_assets.method.roleplay import choose_replies
from stargate_assets.method.scoring import score_gold_responses
from stargate_assets.method.selection import select_conversations
from stargate_assets.method.simulation import Cell
from stargate_assets_tests.method.people import ScriptedModel, pair, talk

LONG = "interminable"
"""A word that makes a request too long."""


class Cramped(ScriptedModel):
    def score(self, requests: Sequence[ScoreRequest], doing: str) -> list[Score]:
        return [
            Score.failed(Failure(FailureReason.TOO_LONG, "long")) if _is_long(request) else score
            for request, score in zip(requests, super().score(requests, doing), strict=True)
        ]


def _is_long(request: ScoreRequest) -> bool:
    return LONG in " ".join([*(m.content for m in request.messages), request.continuation])


def test_a_conversation_without_a_score_has_no_row_and_is_not_selected() -> None:
    talked = [
        talk(("Who are you?", f"I am {word}."), sample=sample)
        for sample, word in enumerate(("Ada", LONG, "old"))
    ]
    gold = {talked[0].pair.key: "Bread for Ada ."}
    every = score_gold_responses(ScriptedModel(), talked, gold, Cell(0, "test"), 0, SHIPPED)
    fewer = score_gold_responses(Cramped(), talked, gold, Cell(0, "test"), 0, SHIPPED)
    assert fewer == [s for s in every if s.sample != 1]
    selected = select_conversations(
        talked,
        [s for s in fewer if s.condition is Condition.EXPERIMENTAL],
        objective="sum",
        top=3,
        margin=None,
        question_cost=0,
        word_cost=0,
    )
    assert [s.conversation.sample for s in selected] == [0, 2]


@pytest.mark.parametrize("method", ["choice", "fit"])
def test_a_comparison_that_cannot_be_scored_has_no_verdict(method) -> None:
    comparisons = [
        Comparison(pair(), text, "Eat figs.") for text in (f"A {LONG} way.", "Eat figs.")
    ]
    refused, tie = judge(Cramped(), method, comparisons, Sampling(9), SHIPPED)
    assert (refused.verdict, refused.unscored) == (None, Unscored.REFUSED)
    assert tie.verdict is Verdict.TIE


def test_a_reply_that_cannot_be_chosen_is_none() -> None:
    of = [pair(persona=f"I bake. I am {word}.") for word in (LONG, "old")]
    asked = [talk(of=one).with_question("Who am I ?", truncated=False) for one in of]
    refused, reply = choose_replies(Cramped(), asked, [0, 0])
    assert refused is None
    assert reply


def test_what_cannot_be_compared_without_a_statement_has_no_log_probabilities() -> None:
    heard = [
        talk(("Who are you?", f"I am {word} ."), of=pair(name=word.title()))
        for word in (LONG, "old")
    ]
    responses = [Response(c.pair, Arm.METHOD, Players(0, 0), 0, 1, "Rest .") for c in heard]
    people = [conversation.pair.persona for conversation in heard]
    traced = trace_statements(
        Cramped(), responses, {0: heard}, people, "test", seed=0, prompts=SHIPPED
    )
    assert [(h.log_prob, h.log_prob_without, h.tokens, h.drop) for _, h in traced[:1]] == [
        (None, None, None, None)
    ]
    assert all(h.drop is not None for _, h in traced[1:])
    assert len(traced) == 2


def test_what_fits_is_told_from_what_does_not() -> None:
    fitting, too_long = find_too_long([5, 9, 8], 8, "m")
    assert fitting == [0, 2]
    assert list(too_long) == [1]
    assert too_long[1].said.startswith("it needs 9 tokens and m has room for 8;")
    assert find_too_long([5, 9], None, "m") == ([0, 1], {})
