import pytest

from stargate_assets.method.gold_responses import gold_response, write_gold_responses
from stargate_assets.method.language_model import Completion, FinishReason, Sampling
from stargate_assets.method.prompts import SHIPPED
from stargate_assets_tests.method.people import ScriptedModel, grid

GOOD = "Ada, because nuts make your throat swell, bake plain bread."


@pytest.mark.parametrize(
    ("text", "finish", "reason"),
    [
        (GOOD, "stop", None),
        (GOOD, "length", "truncated"),
        (" \n", "stop", "empty"),
        ("...", "stop", "empty"),
        ("", "length", "truncated"),
        ("I'm sorry, but I can't help with that.", "stop", "refused"),
        ("I am sorry. I cannot assist you with this.", "stop", "refused"),
        ("As an AI language model, I have no taste.", "stop", "refused"),
        ("I can’t provide that.", "stop", "refused"),
        ("I'm sorry to hear about your knee, Ada. Swim instead.", "stop", None),
        ("I cannot think of better bread than rye, Ada.", "stop", None),
        ("Ada, you said: I can't help it. Rest.", "stop", None),
        ("", "refused", "refused"),
        ("One. " * 10, "length", "truncated"),
        ("Ada, bake \ufffd bread.", "stop", "not_text"),
    ],
)
def test_what_is_no_gold_response(text: str, finish: FinishReason, reason: str | None) -> None:
    assert gold_response(Completion(text, finish, 9, 9)) == (text, reason)


@pytest.mark.parametrize("finish", ["stop", "length"])
def test_a_gold_response_is_at_most_ten_sentences(finish: FinishReason) -> None:
    written = "First:\n- " + "\n- ".join(f"bread {number}" for number in range(14))
    kept = "First:\n- " + "\n- ".join(f"bread {number}" for number in range(9))
    assert gold_response(Completion(written, finish, 9, 9)) == (kept, None)


def test_the_oracle_sees_persona_and_task_and_is_greedy() -> None:
    oracle, pairs = ScriptedModel(), grid(2, 2)
    written = write_gold_responses(oracle, pairs, max_tokens=64, prompts=SHIPPED)
    assert [pair for pair, _, _ in written] == pairs
    assert {reason for _, _, reason in written} == {None}
    (requests,) = oracle.chats
    assert [request.messages for request in requests] == [SHIPPED.oracle_messages(p) for p in pairs]
    assert {request.sampling for request in requests} == {Sampling(64, temperature=0.0)}
    assert pairs[0].persona.text in requests[0].messages[0].content
