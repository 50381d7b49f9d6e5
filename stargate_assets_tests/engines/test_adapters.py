"""Switching adapters without reloading the base."""

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from stargate_assets.engines.engine import Checkpoint
from stargate_assets.engines.transformers import Batching, TransformersEngine
from stargate_assets.method.language_model import EngineError, Message, ScoreRequest

REQUEST = [ScoreRequest((Message("user", "Hello, my name is Ana."),), "What do you do?")]


@pytest.fixture
def adapter(tiny_model: Path, tmp_path: Path) -> Path:
    torch.manual_seed(1)
    config = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_model), config)
    model.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


def test_an_adapter_is_on_and_off_and_equal_to_peft(tiny_model: Path, adapter: Path) -> None:
    engine = TransformersEngine(str(tiny_model), None, "float32", "cpu", Batching())
    base = list(engine.score(REQUEST))
    engine.use(Checkpoint(adapter, "any"))
    trained = list(engine.score(REQUEST))
    engine.use(None)
    assert list(engine.score(REQUEST)) == base != trained

    from peft import PeftModel

    wrapped = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_model), adapter)
    merged = adapter.parent / "merged"
    wrapped.merge_and_unload().save_pretrained(merged)
    engine.tokenizer.tokenizer.save_pretrained(merged)
    expected = TransformersEngine(str(merged), None, "float32", "cpu", Batching())
    found = next(expected.score(REQUEST))[1].log_probs
    assert trained[0][1].log_probs == pytest.approx(found, abs=1e-5)


def test_a_broken_adapter_says_what_to_do(tiny_model: Path, tmp_path: Path) -> None:
    engine = TransformersEngine(str(tiny_model), None, "float32", "cpu", Batching())
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(EngineError, match=r"could not be loaded.*materialise"):
        engine.use(Checkpoint(tmp_path, "any"))


def test_weights_that_an_adapter_lacks_are_not_left_random(tiny_model: Path, adapter: Path) -> None:
    """PEFT warns and goes on."""
    file = adapter / "adapter_model.safetensors"
    weights = load_file(file)
    weights.pop(sorted(weights)[0])
    save_file(weights, file)
    engine = TransformersEngine(str(tiny_model), None, "float32", "cpu", Batching())
    base = list(engine.score(REQUEST))
    with pytest.raises(EngineError, match=r"missing adapter keys.*materialise"):
        engine.use(Checkpoint(adapter, "any"))
    assert list(engine.score(REQUEST)) == base
