from dataclasses import replace

import pytest

from stargate_assets.method.arms import (
    Arm,
    Players,
    Reference,
    Response,
    arms_of,
    draw_conversations,
    judged_arms,
    respond,
)
from stargate_assets.method.conversation import Conversation
from stargate_assets.method.language_model import ChatRequest, Completion, Sampling
from stargate_assets.method.prompts import SHIPPED
from stargate_assets.method.simulation import Cell
from stargate_assets_tests.method.people import ScriptedModel, grid, talk

PAIRS = grid(3, 2)
SAMPLING = Sampling(9)
BASE, BASE_ASKS = Reference
TEST = Cell(1, "test")


def conversations(samples: int = 3, fact: str = "") -> list[Conversation]:
    return [
        talk(*[(f"What of {turn}{fact}?", f"Boat {turn}.")] * turn, of=pair, sample=sample)
        for turn, pair in enumerate(PAIRS, start=1)
        for sample in range(samples)
    ]


def responses(
    cell: Cell = TEST, base: list[Conversation] | None = None, seed: int = 0
) -> list[Response]:
    talked = {cell.iteration: conversations()}
    if base is not None:
        talked[0] = base
    answerers = {index: ScriptedModel() for index in {0, cell.iteration}}
    return respond(answerers, talked, PAIRS, cell, seed=seed, sampling=SAMPLING, prompts=SHIPPED)


def test_every_arm_has_a_response_for_every_pair() -> None:
    of_base = responses(Cell(0, "test"))
    assert [r.arm for r in of_base[:: len(PAIRS)]] == [
        Arm.METHOD,
        Arm.NO_QUESTIONS,
        Arm.INSTRUCTED,
    ]
    of_policy = responses(base=conversations())
    arms = [Arm.METHOD, Arm.BASE_ANSWERS, Arm.BASE_ASKS, Arm.NO_QUESTIONS]
    assert [(r.arm, r.pair) for r in of_policy] == [(arm, pair) for arm in arms for pair in PAIRS]


def test_who_asks_and_who_answers() -> None:
    assert arms_of(2) == {
        Arm.METHOD: Players(2, 2),
        Arm.BASE_ANSWERS: Players(2, 0),
        Arm.BASE_ASKS: Players(0, 2),
        Arm.NO_QUESTIONS: Players(None, 2),
    }
    assert arms_of(0)[Arm.METHOD] == arms_of(0)[Arm.INSTRUCTED] == Players(0, 0)


def test_the_reference_is_not_compared_with_itself() -> None:
    assert judged_arms(0) == [(BASE, Arm.NO_QUESTIONS), (BASE, Arm.INSTRUCTED)]
    assert judged_arms(1) == [*((BASE, arm) for arm in arms_of(1)), (BASE_ASKS, Arm.METHOD)]


def test_each_model_is_called_once_with_everything_it_answers() -> None:
    base, policy = ScriptedModel(), ScriptedModel()
    talked = {0: conversations(), 1: conversations()}
    respond({0: base, 1: policy}, talked, PAIRS, TEST, seed=0, sampling=SAMPLING, prompts=SHIPPED)
    assert [len(batch) for batch in base.chats] == [len(PAIRS)]
    assert [len(batch) for batch in policy.chats] == [3 * len(PAIRS)]
    assert {r.sampling.temperature for batch in policy.chats for r in batch} == {0.0}


def test_arms_with_one_asker_answer_after_the_same_conversation() -> None:
    """So that they differ in nothing but the answerer, across cells too."""
    of_policy = {(r.arm, r.pair): r for r in responses(base=conversations())}
    of_base = {(r.arm, r.pair): r for r in responses(Cell(0, "test"))}
    for pair in PAIRS:
        method, base_answers = of_policy[Arm.METHOD, pair], of_policy[Arm.BASE_ANSWERS, pair]
        assert (method.sample, method.turns) == (base_answers.sample, base_answers.turns)
        assert of_policy[Arm.BASE_ASKS, pair].sample == of_base[Arm.METHOD, pair].sample
        assert of_base[Arm.INSTRUCTED, pair].sample == of_base[Arm.METHOD, pair].sample
        assert of_policy[Arm.NO_QUESTIONS, pair].sample is None
        assert of_policy[Arm.NO_QUESTIONS, pair].turns == 0


def test_conversations_are_drawn_by_key_whatever_their_order() -> None:
    talked = conversations(samples=9)
    drawn = draw_conversations(talked, TEST, seed=0)
    assert drawn == draw_conversations(talked[::-1], TEST, seed=0)
    assert drawn != draw_conversations(talked, TEST, seed=1)
    assert drawn != draw_conversations(talked, Cell(2, "test"), seed=0)
    assert len({c.sample for c in drawn.values()}) > 1


def test_after_a_refused_conversation_nothing_is_asked() -> None:
    base = [replace(c, refused=True) for c in conversations()]
    found = responses(base=base)
    assert all(r.refused == (r.arm is Arm.BASE_ASKS) for r in found)
    assert {r.text for r in found if r.refused} == {""}


class Ending(ScriptedModel):
    def __init__(self, finish_reason) -> None:
        super().__init__()
        self.finish_reason = finish_reason

    def chat(self, requests: list[ChatRequest], doing: str) -> list[Completion]:
        return [Completion("Then", self.finish_reason, 1, 1) for _ in requests]


@pytest.mark.parametrize(("reason", "kept"), [("length", "truncated"), ("refused", "refused")])
def test_how_a_response_ended_is_kept(reason: str, kept: str) -> None:
    found = respond(
        {0: Ending(reason)},
        {0: conversations()},
        PAIRS,
        Cell(0, "test"),
        seed=0,
        sampling=SAMPLING,
        prompts=SHIPPED,
    )
    assert all(getattr(r, kept) for r in found)
    assert not any(r.truncated and r.refused for r in found)


def test_only_the_arms_that_are_wanted_are_answered_and_judged() -> None:
    wanted = (Arm.METHOD, Arm.BASE_ANSWERS)
    assert [list(arms_of(i, wanted)) for i in (0, 1)] == [[Arm.METHOD], list(wanted)]
    of_base = [(BASE, arm) for arm in wanted]
    assert [judged_arms(i, wanted) for i in (0, 1)] == [[], of_base]
    models = {0: ScriptedModel(), 1: ScriptedModel()}
    talked = {0: conversations(), 1: conversations()}
    found = respond(
        models, talked, PAIRS, TEST, seed=0, sampling=SAMPLING, wanted=wanted, prompts=SHIPPED
    )
    assert [r.arm for r in found] == [arm for arm in wanted for _ in PAIRS]
    assert found == [r for r in responses(base=conversations()) if r.arm in wanted]
