import pytest

from stargate_assets.method.language_model import Completion, FinishReason
from stargate_assets.method.prompts import SHIPPED
from stargate_assets.method.regularization import (
    RegularizationResponse,
    answer_tasks,
    learn_gold_responses,
    learn_own_answers,
)
from stargate_assets_tests.method.people import ScriptedModel, talk

ASKED = talk(("Where do you live?", "By the sea."))


@pytest.mark.parametrize(
    ("text", "finish_reason", "learnt"),
    [
        ("Eat rice. It is cheap.", "stop", "Eat rice. It is cheap."),
        ("Eat rice. Do you like it?", "stop", None),
        ("Do you like it? Eat rice.", "stop", "Do you like it? Eat rice."),
        ("Eat rice. It is che", "length", "Eat rice."),
        ("Do you like it? Eat ri", "length", None),
        ("Eat rice and so on", "length", None),
        ("", "refused", None),
    ],
)
def test_only_what_answers_is_learnt(
    text: str, finish_reason: FinishReason, learnt: str | None
) -> None:
    answers = [Completion(text, finish_reason, 1, 1)]
    kept = learn_own_answers([ASKED], answers, only_answers=True)
    assert kept == ([RegularizationResponse(ASKED, learnt, False)] if learnt else [])
    every = learn_own_answers([ASKED], answers, only_answers=False)
    assert every == [RegularizationResponse(ASKED, text, finish_reason == "length")]


def test_tasks_are_answered_greedily() -> None:
    model = ScriptedModel()
    (answer,) = answer_tasks(model, [ASKED], 7, prompts=SHIPPED)
    (request,) = model.chats[0]
    assert answer.text
    assert (request.sampling.temperature, request.sampling.max_tokens) == (0, 7)
    assert ASKED.pair.task.text in request.messages[-1].content


def test_the_gold_response_of_the_pair_is_learnt() -> None:
    assert learn_gold_responses([ASKED], {ASKED.pair.key: "Fish."}) == [
        RegularizationResponse(ASKED, "Fish.", truncated=False)
    ]
