"""Preference optimisation on a tiny model, against sums by another engine and by hand."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from stargate_assets.config.training import Training
from stargate_assets.engines.engine import Checkpoint
from stargate_assets.engines.transformers import Batching, TransformersEngine
from stargate_assets.method.examples import IGNORED, Example
from stargate_assets.method.language_model import Message, ScoreRequest
from stargate_assets.method.preferences import Preference
from stargate_assets.training.labelled_loss import learn_where_labelled
from stargate_assets.training.spec import TrainingError, TrainingSpec, encode_preferences
from stargate_assets.training.stages import collate
from stargate_assets.training.trainer import train
from stargate_assets_tests.training.test_trainer import spec

PROMPT = (Message("system", "Ask."), Message("user", "I am Ana."))
TALKED = (*PROMPT, Message("assistant", "Who are you?"), Message("user", "A baker."))
PREFERENCES = [
    Preference(prompt, Message("assistant", chosen), Message("assistant", rejected), turn)
    for prompt, chosen, rejected, turn in (
        (PROMPT, "What do you like to eat?", "Cook rice.", 0),
        (PROMPT, "Where do you live?", "I do not know what to say to that.", 0),
        (TALKED, "What do you bake?", "Bread?", 1),
    )
]


def comparing(model: Path, output: Path, **training: Any) -> TrainingSpec:
    stated = spec(model, output, **{"loss": "dpo", "learning_rate": 1e-3, **training})
    return stated.model_copy(update={"preferences": encode_preferences(PREFERENCES)})


def margins(model: Path, adapter: Path | None = None) -> list[float]:
    """log p(chosen) - log p(rejected) by the engine that scores."""
    engine = TransformersEngine(str(model), None, "float32", "cpu", Batching())
    engine.use(Checkpoint(adapter, "any"))
    requests = [
        ScoreRequest(p.prompt, said.content, end_of_turn=True)
        for p in PREFERENCES
        for said in (p.chosen, p.rejected)
    ]
    totals = [0.0] * len(requests)
    for number, score in engine.score(requests):
        totals[number] = score.total
    return [better - worse for better, worse in zip(totals[::2], totals[1::2], strict=True)]


def test_the_loss_is_that_of_a_computation_by_hand(tiny_model: Path) -> None:
    model, plain = (AutoModelForCausalLM.from_pretrained(tiny_model) for _ in range(2))
    learn_where_labelled(model, Training(dpo_beta=0.5))
    tokens = [(5, 6, 7, 8), (5, 6, 9), (4, 5, 3, 6, 2), (4, 5, 9, 9)]
    pairs = [Example("answer", ids, (IGNORED, IGNORED, *ids[2:])) for ids in tokens]
    reference = torch.tensor([0.25, -1.0])
    found = model(**collate(pairs, 0), reference=reference, num_items_in_batch=4)

    def log_prob(ids: tuple[int, ...]) -> float:
        with torch.no_grad():
            logits = plain(torch.tensor([ids])).logits[0].log_softmax(-1)
        return sum(float(logits[place - 1, ids[place]]) for place in range(2, len(ids)))

    above = [log_prob(tokens[0]) - log_prob(tokens[1]), log_prob(tokens[2]) - log_prob(tokens[3])]
    losses = [
        math.log1p(math.exp(-0.5 * (a - r))) for a, r in zip(above, (0.25, -1.0), strict=True)
    ]
    assert found["margins"].tolist() == pytest.approx(above, abs=1e-5)
    assert found["loss"].item() == pytest.approx(sum(losses) / 4, abs=1e-6)
    none = model(**collate([], 0), reference=torch.zeros(0), num_items_in_batch=4)
    none["loss"].backward()
    assert none["loss"].item() == 0
    assert all(not p.grad.any() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_what_is_preferred_becomes_more_probable(
    tiny_model: Path, tmp_path: Path, method: str
) -> None:
    """The first loss is log 2, because the reference is the model before the first step."""
    seen: list[tuple[int, int, float]] = []
    stated = comparing(tiny_model, tmp_path / "out", method=method, epochs=4)
    result = train(stated, lambda *s: seen.append(s))
    assert (result.question_examples, result.preference_pairs, result.steps) == (0, 3, 8)
    assert result.losses == []
    assert [loss for _, _, loss in seen] == result.preference_losses
    assert result.preference_losses[0] == pytest.approx(math.log(2), abs=1e-4)
    assert result.preference_losses[-1] < math.log(2) - 1e-3
    path, adapter = (tmp_path / "out", None) if method == "full" else (tiny_model, tmp_path / "out")
    trained = margins(path, adapter)
    assert all(after > before for after, before in zip(trained, margins(tiny_model), strict=True))


@pytest.mark.parametrize("method", ["lora", "full"])
def test_after_fine_tuning_the_reference_is_what_was_fine_tuned(
    tiny_model: Path, tmp_path: Path, method: str
) -> None:
    stated = {"method": method, "learning_rate": 1e-2}
    fine_tuned = train(spec(tiny_model, tmp_path / "sft", **stated), lambda *_: None)
    seen: list[tuple[int, int]] = []
    both = comparing(tiny_model, tmp_path / "both", loss="sft_then_dpo", **stated)
    result = train(both, lambda step, steps, _: seen.append((step, steps)))
    assert result.losses == pytest.approx(fine_tuned.losses, abs=1e-6)
    assert result.preference_losses[0] == pytest.approx(math.log(2), abs=1e-4)
    assert seen == [(step, 8) for step in range(1, 9)]
    bases = [(tmp_path / n, None) if method == "full" else (tiny_model, tmp_path / n)
             for n in ("sft", "both")]  # fmt: skip
    before, after = (margins(*base) for base in bases)
    assert sum(after) > sum(before)


def test_micro_batches_of_pairs_are_one_batch(tiny_model: Path, tmp_path: Path) -> None:
    losses = [
        train(
            comparing(tiny_model, tmp_path / str(size), batch_size=3, device_batch_size=size),
            lambda *_: None,
        ).preference_losses
        for size in (1, 6)
    ]
    assert losses[0] == pytest.approx(losses[1], abs=2e-4)


@pytest.mark.parametrize("loss", ["dpo", "sft_then_dpo"])
def test_without_a_preference_nothing_is_trained(
    tiny_model: Path, tmp_path: Path, loss: str
) -> None:
    with pytest.raises(TrainingError, match=r"no preference to learn from.*simulation\.samples"):
        train(spec(tiny_model, tmp_path / "out", loss=loss), lambda *_: None)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        ({"output": Path("elsewhere"), "processes": 2, "device": "cuda"}, True),
        ({"gradient_checkpointing": True, "model": "moved"}, True),
        ({"identity": "another"}, False),
        ({"seed": 8}, False),
        ({"bf16": True}, False),
        ({"preferences": ()}, False),
    ],
)
def test_the_digest_is_of_what_determines_the_result(changed: dict[str, Any], same: bool) -> None:
    stated = comparing(Path("model"), Path("out"))
    assert (stated.model_copy(update=changed).digest == stated.digest) is same
    assert comparing(Path("model"), Path("out"), epochs=3).digest != stated.digest
