"""Each decoder architecture of transformers: the engine scores and writes what the model does
itself, or refuses it on opening.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoModelForCausalLM, Qwen2Config, Qwen2ForCausalLM
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from transformers.utils import logging

from stargate_assets.engines.probe import probe
from stargate_assets.engines.transformers import Batching, TransformersEngine
from stargate_assets.method.language_model import (
    ChatRequest,
    EngineError,
    Message,
    Sampling,
    ScoreRequest,
)
from stargate_assets_tests.chat_templates import chat_tokenizer
from stargate_assets_tests.conftest import ROOT
from stargate_assets_tests.engines.architectures import WINDOW, configuration, tiny_random_model

Outcome = Literal["equal", "refused"]
TOKENIZER = chat_tokenizer("chatml").tokenizer
HI, LONGER = (Message("user", "Hi"),), (Message("user", "What do you do for a living? " * 6),)
SHORT = [ScoreRequest(HI, "me")]
LONG = [
    ScoreRequest(LONGER, "I bake bread at night.", end_of_turn=True),
    ScoreRequest(HI, "I bake bread."),
    ScoreRequest((*LONGER, Message("assistant", "I do.")), "I bake bread at home." * 3),
]
WRITTEN = 3
NOT_MADE = (
    *(ArithmeticError, AssertionError, AttributeError, ImportError, LookupError),
    *(NotImplementedError, OSError, RuntimeError, StrictDataclassError, TypeError, ValueError),
)
"""What transformers raises where a tiny model of an architecture cannot be made so simply."""


def saved(name: str, path: Path, **stated: Any) -> Any:
    """The model itself, read from the directory that the engine reads. Raises NOT_MADE."""
    model = tiny_random_model(configuration(name, len(TOKENIZER), **stated))
    model.save_pretrained(path)
    TOKENIZER.save_pretrained(path)
    loaded = AutoModelForCausalLM.from_pretrained(path).eval()
    log_probs(loaded, range(20, 29))
    return loaded


@torch.no_grad()
def log_probs(model: Any, tokens: Sequence[int]) -> torch.Tensor:
    return model(torch.tensor([list(tokens)])).logits[0].log_softmax(-1)


def compare(model: Any, engine: TransformersEngine) -> None:
    """Scores of requests with and without a shared prefix, and what is written greedily."""
    fits = engine.forward.longest is None or engine.forward.longest > WINDOW
    if not fits:
        assert all(
            f"in this engine has room for {WINDOW}" in score.failure.said
            for _, score in engine.score(LONG)
            if score.failure
        )
        assert any(score.failure for _, score in engine.score(LONG))
    requests = LONG if fits else SHORT
    for number, score in engine.score(requests):
        ((context, said),) = engine.tokenizer.scored([requests[number]])
        rows = log_probs(model, context + said)[len(context) - 1 : -1]
        expected = rows[range(len(said)), list(said)].tolist()
        assert list(score.log_probs) == pytest.approx(expected, abs=1e-4)
    asked = [ChatRequest(messages, Sampling(WRITTEN), seed=0) for messages in (HI, HI + HI)]
    for number, completion in engine.chat(asked):
        prompt = tokens = list(engine.tokenizer.prompt_ids(asked[number].messages))
        while len(tokens) < len(prompt) + WRITTEN:
            token = int(log_probs(model, tokens)[-1].argmax())
            if token in engine.stop_ids:
                break
            tokens = [*tokens, token]
        written = engine.tokenizer.completion(prompt, tokens[len(prompt) :], stopped=False)
        assert completion.text == written.text


def outcome(name: str, path: Path, **stated: Any) -> Outcome:
    model = saved(name, path, **stated)
    try:
        engine = TransformersEngine(str(path), None, "float32", "cpu", Batching())
    except EngineError as error:
        assert re.fullmatch(r"The transformers engine .*; set engine: vllm for it\.", str(error))
        return "refused"
    compare(model, engine)
    return "equal"


@pytest.mark.parametrize(
    ("name", "expected", "stated"),
    [
        ("nanochat", "equal", {"final_logit_softcapping": 5.0}),
        ("gemma2", "equal", {"final_logit_softcapping": 5.0, "attn_logit_softcapping": 2.0}),
        ("cohere", "equal", {"logit_scale": 3.0}),
        ("granite", "equal", {"logits_scaling": 0.2}),
        ("phi", "equal", {"tie_word_embeddings": False}),
        ("gpt_oss", "equal", {}),
        ("mixtral", "equal", {"tie_word_embeddings": True}),
        ("mistral", "equal", {"sliding_window": None}),
        ("mistral", "equal", {"sliding_window": WINDOW}),
        ("bloom", "refused", {}),
        ("gptj", "refused", {}),
        ("deepseek_v3", "refused", {}),
        ("qwen3_next", "refused", {}),
        ("mamba", "refused", {}),
    ],
)
def test_scores_are_the_model_s_own_or_it_is_refused(
    tmp_path: Path, name: str, expected: Outcome, stated: dict[str, Any]
) -> None:
    """Caps, scales and biases of logits, sinks and caps of attention, experts, windows."""
    assert outcome(name, tmp_path, **stated) == expected


@pytest.mark.slow
def test_a_model_that_multiplies_what_is_rounded_is_not_refused_for_it() -> None:
    """Of 48 layers in half precision, each computes with what those before it have rounded."""
    torch.manual_seed(1)
    wide = {"hidden_size": 256, "intermediate_size": 1024, "initializer_range": 0.1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1}
    deep = Qwen2Config(vocab_size=300, num_hidden_layers=48, **wide, **heads)
    model = Qwen2ForCausalLM(deep).to(torch.bfloat16).eval()
    model.set_attn_implementation("eager")
    assert probe(model, "deep", range(20, 300), 2048).longest


@pytest.mark.slow
def test_every_architecture_is_equal_or_refused(tmp_path: Path) -> None:
    """With tied and with untied embeddings; the documentation lists those that are equal."""
    logging.set_verbosity_error()
    found: dict[str, Outcome] = {}
    for name in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        for tied in (False, True):
            path = tmp_path / f"{name}-{tied}"
            try:
                now = outcome(name, path, tie_word_embeddings=tied)
            except NOT_MADE:
                break
            assert found.setdefault(name, now) == now, name
            print(f"{name:30}{now}, {'tied' if tied else 'untied'}")
    equal = {name for name, now in found.items() if now == "equal"}
    assert len(found) - len(equal) > 40 < len(equal)
    paragraph = (ROOT / "docs" / "engines.md").read_text().partition("It runs these:")[2]
    assert set(re.findall(r"`([\w-]+)`", paragraph.partition("\n\n")[0])) == equal
