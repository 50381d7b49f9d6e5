"""What a training of LoRA needs is tried before it starts."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from stargate_assets.engines.engine import Checkpoint
from stargate_assets.engines.transformers import Batching, TransformersEngine
from stargate_assets.method.language_model import ScoreRequest
from stargate_assets.training.adapter import add_adapter
from stargate_assets.training.spec import TrainingError
from stargate_assets.training.trainer import train
from stargate_assets_tests.chat_templates import chat_tokenizer
from stargate_assets_tests.engines.architectures import configuration, tiny_random_model
from stargate_assets_tests.training.test_trainer import ASKED, spec


def saved(name: str, path: Path) -> Path:
    """A tiny random model of an architecture, with a small tokenizer."""
    tokenizer = chat_tokenizer("chatml").tokenizer
    tiny_random_model(configuration(name, len(tokenizer))).save_pretrained(path / name)
    tokenizer.save_pretrained(path / name)
    return path / name


@pytest.mark.parametrize("name", ["mixtral", "gpt2"])
def test_what_is_trained_is_what_is_opened(tmp_path: Path, name: str) -> None:
    """A mixture of experts, whose matrices are one parameter, and a model with transposed ones."""
    model = saved(name, tmp_path)
    train(spec(model, tmp_path / "out"), lambda *_: None)
    engine = TransformersEngine(str(model), None, "float32", "cpu", Batching())
    asked = ScoreRequest(ASKED[:1], ASKED[1].content, end_of_turn=True)
    ((context, said),) = engine.tokenizer.scored([asked])

    def scores_of(judge: Any) -> list[float]:
        with torch.no_grad():
            rows = judge(torch.tensor([context + said])).logits[0].log_softmax(-1)
        return [float(rows[len(context) + i - 1, token]) for i, token in enumerate(said)]

    base = AutoModelForCausalLM.from_pretrained(model)
    untrained = scores_of(base)
    trained = scores_of(PeftModel.from_pretrained(base, tmp_path / "out"))
    for checkpoint, expected in ((Checkpoint(tmp_path / "out", "any"), trained), (None, untrained)):
        engine.use(checkpoint)
        assert list(next(engine.score([asked]))[1].log_probs) == pytest.approx(expected, abs=1e-3)
    assert sum(trained) > sum(untrained) + 1


@pytest.mark.parametrize(
    ("name", "why"),
    [("laguna", "missing adapter keys"), ("llama4_text", "AttributeError"), ("mamba", "out_proj")],
)
def test_an_adapter_that_could_not_be_opened_is_not_trained(
    tmp_path: Path, name: str, why: str
) -> None:
    """PEFT saves under names that it does not find again, breaks what a router returns, or
    refuses.
    """
    model = saved(name, tmp_path)
    with pytest.raises(TrainingError, match=rf"could not be opened .*{why}.*method: full\.$"):
        train(spec(model, tmp_path / "out"), lambda *_: None)
    assert not (tmp_path / "out").exists()


def test_trying_changes_neither_the_model_nor_the_draw(tiny_model: Path, tmp_path: Path) -> None:
    model, plain = (AutoModelForCausalLM.from_pretrained(tiny_model) for _ in range(2))
    first, again = (add_adapter(m, spec(tiny_model, tmp_path)) for m in (model, plain))
    assert first.state_dict().keys() == again.state_dict().keys()
    untouched = AutoModelForCausalLM.from_pretrained(tiny_model).state_dict()
    for name, weight in first.unload().state_dict().items():
        assert torch.equal(weight, untouched[name])
