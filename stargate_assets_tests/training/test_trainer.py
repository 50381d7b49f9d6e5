"""The training program on a tiny model."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from stargate_assets.config.training import Training
from stargate_assets.engines.engine import Checkpoint
from stargate_assets.engines.transformers import Batching, TransformersEngine
from stargate_assets.method.examples import IGNORED, Dialogue, Example
from stargate_assets.method.language_model import Message, ScoreRequest
from stargate_assets.storage.checkpoints import publish
from stargate_assets.training.spec import TrainingError, TrainingSpec, encode_dialogues
from stargate_assets.training.stages import collate
from stargate_assets.training.trainer import check_examples, train

ASKED = (Message("user", "My name is Ana."), Message("assistant", "What do you like to eat?"))
DIALOGUES = [
    Dialogue("question", ASKED),
    Dialogue("answer", (*ASKED, Message("user", "Rice."), Message("assistant", "Cook rice."))),
    Dialogue("question", (Message("user", "I am Bo."), Message("assistant", "Where do you live?"))),
    Dialogue("question", (Message("user", "Help!"), Message("assistant", "What do you do?"))),
]


def spec(model: Path, output: Path, **training: Any) -> TrainingSpec:
    stated = {"method": "lora", "learning_rate": 1e-2, "batch_size": 2, "epochs": 2}
    return TrainingSpec(
        model=str(model),
        identity="tiny",
        revision=None,
        device="cpu",
        bf16=False,
        seed=7,
        training=Training.model_validate(stated | training),
        dialogues=encode_dialogues(DIALOGUES),
        output=output,
    )


@pytest.mark.parametrize("method", ["lora", "full"])
def test_training_makes_its_turns_more_probable(
    tiny_model: Path, tmp_path: Path, method: str
) -> None:
    seen: list[tuple[int, int, float]] = []
    result = train(spec(tiny_model, tmp_path / "out", method=method), lambda *s: seen.append(s))
    assert (result.question_examples, result.answer_examples, result.steps) == (3, 1, 4)
    assert [step for step, _, _ in seen] == [1, 2, 3, 4]
    request = [ScoreRequest(ASKED[:1], ASKED[1].content, end_of_turn=True)]
    full = method == "full"
    path = tmp_path / "out" if full else tiny_model
    engine = TransformersEngine(str(path), None, "float32", "cpu", Batching())
    if not full:
        engine.use(Checkpoint(tmp_path / "out", "any"))
    base = TransformersEngine(str(tiny_model), None, "float32", "cpu", Batching())
    trained, untrained = (next(e.score(request))[1].total for e in (engine, base))
    assert trained > untrained


@pytest.mark.parametrize("bf16", [False, True])
def test_a_training_of_one_step_is_not_all_warm_up(
    tiny_model: Path, tmp_path: Path, bf16: bool
) -> None:
    """Nor does what is tried before the first step cost it its gradients."""
    one = spec(tiny_model, tmp_path / "out", batch_size=4, epochs=1)
    assert train(one.model_copy(update={"bf16": bf16}), lambda *_: None).steps == 1
    engine = TransformersEngine(str(tiny_model), None, "float32", "cpu", Batching())
    request = [ScoreRequest(ASKED[:1], ASKED[1].content)]
    before = next(engine.score(request))[1].total
    engine.use(Checkpoint(tmp_path / "out", "any"))
    assert next(engine.score(request))[1].total != before


def test_bf16_is_what_is_computed_in(tiny_model: Path, tmp_path: Path) -> None:
    losses = list[float]()
    for bf16 in (False, True):
        full = spec(tiny_model, tmp_path / str(bf16), method="full")
        losses.append(train(full.model_copy(update={"bf16": bf16}), lambda *_: None).losses[-1])
    assert losses[0] != losses[1] == pytest.approx(losses[0], abs=0.02)


def test_the_same_spec_gives_the_same_checkpoint(tiny_model: Path, tmp_path: Path) -> None:
    hashes = set[str]()
    for name in ("one", "two"):
        train(spec(tiny_model, tmp_path / name), lambda *_: None)
        hashes.add(publish(tmp_path / name, tmp_path / f"{name}-published"))
    assert len(hashes) == 1


def test_accumulated_batches_are_one_batch(tiny_model: Path, tmp_path: Path) -> None:
    """4 x 1 examples give the losses of 1 x 4, because a step averages over its labelled tokens."""
    losses: dict[int, list[float]] = {}
    for together in (1, 4):
        settings = {"batch_size": 4, "device_batch_size": together}
        seen = losses.setdefault(together, [])
        train(
            spec(tiny_model, tmp_path / str(together), **settings),
            lambda _step, _steps, loss, seen=seen: seen.append(loss),
        )
    assert losses[1] == pytest.approx(losses[4], abs=2e-3)


def test_a_loss_that_is_no_number_publishes_nothing(tiny_model: Path, tmp_path: Path) -> None:
    bad = spec(tiny_model, tmp_path / "out", method="full", learning_rate=1e30, max_grad_norm=1e30)
    with pytest.raises(TrainingError, match=r"loss is (nan|inf).*learning_rate"):
        train(bad, lambda *_: None)
    assert not (tmp_path / "out").exists()


def test_an_example_without_labels_is_refused() -> None:
    learnt = Example("question", (1, 2), (IGNORED, 2))
    with pytest.raises(TrainingError, match=r"Example 1 \(answer\) has no label"):
        check_examples([learnt, Example("answer", (1, 2), (IGNORED, IGNORED))])
    with pytest.raises(TrainingError, match="no conversation to learn from"):
        check_examples([])


def test_fault_4_the_mask_comes_from_lengths_not_from_the_pad_id() -> None:
    """Token 2 ends turns and pads: real ends are attended to and learnt, padding is neither."""
    rows = [
        Example("question", (5, 2, 6, 2), (IGNORED, 2, IGNORED, 2)),
        Example("answer", (7,), (7,)),
    ]
    batch = collate(rows, pad_id=2)
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1], [1, 0, 0, 0]]
    assert batch["input_ids"].tolist() == [[5, 2, 6, 2], [7, 2, 2, 2]]
    assert torch.equal(batch["labels"][1], torch.tensor([7, -100, -100, -100]))


def test_the_program_by_hand(tiny_model: Path, tmp_path: Path) -> None:
    file = tmp_path / "spec.json"
    file.write_text(spec(tiny_model, tmp_path / "out").model_dump_json())
    command = [sys.executable, "-m", "stargate_assets.training", str(file)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "adapter_model.safetensors").exists()
