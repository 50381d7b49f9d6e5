"""The transformers engine with the real bundled model, against plain transformers one request at a
time.
"""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from stargate_assets.engines.transformers import Batching, TransformersEngine
from stargate_assets.method.language_model import (
    ChatRequest,
    Completion,
    EngineError,
    FailureReason,
    Message,
    Sampling,
    Score,
    ScoreRequest,
)
from stargate_assets_tests.conftest import WITHOUT_AMX

TASKS = ("What should I cook tonight?", "How can I sleep better?", "Where could I travel?")
SYSTEM = Message("system", "You ask people short questions to get to know them. " * 4)
BF16 = bool(torch.cpu.get_capabilities().get("avx512_bf16"))
AMX = torch.cpu.get_capabilities().get("amx_bf16") and not WITHOUT_AMX.keys() & os.environ.keys()
alike_in_any_batch = pytest.mark.skipif(not BF16 or bool(AMX), reason="no bf16 but with AMX")


def engine(path: Path, dtype: str = "float32", **limits: int) -> TransformersEngine:
    return TransformersEngine(str(path), None, dtype, "cpu", Batching(**limits))


@pytest.fixture(scope="module")
def fp32(smollm: Path) -> TransformersEngine:
    return engine(smollm)


@pytest.fixture(scope="module")
def plain(smollm: Path) -> tuple[Any, Any]:
    model = AutoModelForCausalLM.from_pretrained(smollm, dtype=torch.float32).eval()
    return model, AutoTokenizer.from_pretrained(smollm)


def chats(sampling: Sampling, count: int = 6) -> list[ChatRequest]:
    """Prompts of different lengths; two of them the same, with different seeds."""
    return [
        ChatRequest(
            (
                SYSTEM,
                Message("user", f"My name is Ana. {TASKS[i % 3]}" + " I live alone." * (i % 2)),
            ),
            sampling,
            seed=i,
        )
        for i in range(count)
    ]


def scores(count: int = 7) -> list[ScoreRequest]:
    return [
        ScoreRequest(
            (
                Message("user", f"My name is Ana. {TASKS[i % 3]}"),
                Message("assistant", "What do you like?" * (1 + i % 2)),
                Message("user", f"I like rice. {TASKS[i % 3]}"),
            ),
            "Ana, since you like rice, stay at home." + " Sleep well." * i,
            end_of_turn=i == 2,
        )
        for i in range(count)
    ]


def ordered(results: Any) -> list[Any]:
    return [result for _, result in sorted(results, key=lambda pair: pair[0])]


def reference_score(plain: tuple[Any, Any], request: ScoreRequest) -> list[float]:
    """Token-id concatenation, one request, no padding."""
    model, tokenizer = plain
    turns = [{"role": m.role, "content": m.content} for m in request.messages]
    text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    prompt = tokenizer(text, add_special_tokens=False).input_ids
    gold = tokenizer(request.continuation, add_special_tokens=False).input_ids
    gold += [tokenizer.eos_token_id] * request.end_of_turn
    with torch.inference_mode():
        log_probs = model(torch.tensor([prompt + gold])).logits[0].log_softmax(-1)
    return [log_probs[len(prompt) - 1 + i, token].item() for i, token in enumerate(gold)]


def test_fault_1_scores_equal_a_one_by_one_reference(
    fp32: TransformersEngine, plain: tuple[Any, Any]
) -> None:
    for score, request in zip(ordered(fp32.score(scores())), scores(), strict=True):
        assert list(score.log_probs) == pytest.approx(reference_score(plain, request), abs=1e-3)


def test_fault_1_scores_do_not_depend_on_batch_mates_or_order(fp32: TransformersEngine) -> None:
    together: list[Score] = ordered(fp32.score(scores()))
    backwards = ordered(fp32.score(scores()[::-1]))[::-1]
    alone = [ordered(fp32.score([request]))[0] for request in scores()]
    for score, other, single in zip(together, backwards, alone, strict=True):
        assert score.log_probs == pytest.approx(other.log_probs, abs=1e-4)
        assert score.log_probs == pytest.approx(single.log_probs, abs=1e-4)


def test_fault_4_a_context_with_real_end_tokens_is_attended_to(
    fp32: TransformersEngine, plain: tuple[Any, Any]
) -> None:
    """The end of turn is the pad token too; a mask made from it would hide every earlier turn's
    end.
    """
    request = scores()[3]
    assert plain[1].pad_token_id == plain[1].eos_token_id == fp32.tokenizer.end_of_turn_ids[-1]
    assert fp32.tokenizer.prompt_ids(request.messages).count(plain[1].eos_token_id) == 4
    (score,) = ordered(fp32.score([request]))
    assert list(score.log_probs) == pytest.approx(reference_score(plain, request), abs=1e-3)


@pytest.mark.slow
def test_greedy_text_is_that_of_generate(fp32: TransformersEngine, plain: tuple[Any, Any]) -> None:
    model, tokenizer = plain
    for request, completion in zip(
        chats(Sampling(16)), ordered(fp32.chat(chats(Sampling(16)))), strict=True
    ):
        prompt = torch.tensor([fp32.tokenizer.prompt_ids(request.messages)])
        output = model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=16,
            do_sample=False,
            pad_token_id=0,
        )
        new = output[0, prompt.shape[1] :].tolist()
        assert completion.text == tokenizer.decode(new, skip_special_tokens=True).strip()
        assert completion.completion_tokens == len(new)
        assert completion.finish_reason == ("stop" if new[-1] in fp32.stop_ids else "length")


@pytest.mark.slow
@pytest.mark.parametrize(
    "dtype",
    ["float32", pytest.param("bfloat16", marks=alike_in_any_batch)],
)
def test_a_sample_depends_on_its_own_seed_alone(smollm: Path, dtype: str) -> None:
    """Neither on batch mates, nor on order, nor on how many rows and tokens fit the machine."""
    requests = chats(Sampling(12, 0.9, 0.95), 9)
    together: list[Completion] = ordered(engine(smollm, dtype).chat(requests))
    cramped = engine(smollm, dtype, decode_rows=4, prefill_tokens=100)
    assert ordered(cramped.chat(requests[::-1]))[::-1] == together
    assert ordered(cramped.chat(requests[4:5])) == together[4:5]
    assert len({completion.text for completion in together}) > 1
    reseeded = [ChatRequest(r.messages, r.sampling, r.seed + 100) for r in requests]
    assert ordered(cramped.chat(reseeded)) != together


@alike_in_any_batch
def test_bf16_scores_are_bit_identical_in_any_batch(smollm: Path) -> None:
    one = engine(smollm, "bfloat16")
    assert ordered(one.score(scores()))[2:4] == ordered(one.score(scores()[2:4]))


def test_a_request_that_does_not_fit_is_one_request_s_failure(fp32: TransformersEngine) -> None:
    fitting = chats(Sampling(4), 2)
    too_long = ChatRequest(fitting[0].messages, Sampling(9000))
    first, failed, last = ordered(fp32.chat([fitting[0], too_long, fitting[1]]))
    assert [first, last] == ordered(fp32.chat(fitting))
    assert failed.finish_reason == "refused"
    assert failed.failure.reason is FailureReason.TOO_LONG
    assert "has room for 8192" in failed.failure.said.replace(" in this engine", "")
    long = ScoreRequest((Message("user", "Who?"),), "It is me. " * 3000)
    first, failed = ordered(fp32.score([scores()[0], long]))
    assert first == ordered(fp32.score(scores()[:1]))[0]
    assert failed.log_probs == ()
    assert failed.failure.reason is FailureReason.TOO_LONG
    assert [s.failure is None for s in ordered(fp32.score([long]))] == [False]


def test_a_model_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(EngineError, match="could not be loaded"):
        engine(tmp_path)


def test_no_requests_are_no_work(fp32: TransformersEngine) -> None:
    assert list(fp32.chat([])) == list(fp32.score([])) == []


@pytest.mark.parametrize("sampling", [Sampling(12), Sampling(12, 0.9, 0.95)])
def test_a_text_that_is_streamed_is_the_same_text(
    fp32: TransformersEngine, sampling: Sampling
) -> None:
    request, grown = chats(sampling)[1], list[str]()
    ((_, streamed),) = fp32.stream(request, grown.append)
    assert [(0, streamed)] == list(fp32.chat([request]))
    assert len(grown) >= 5
    assert all(streamed.text.startswith(text) for text in grown)
    assert grown == sorted(grown, key=len)
