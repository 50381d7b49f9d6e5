"""Losses that weigh every conversation, against gradients by hand and on a planted bandit."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from stargate_assets.config.training import Training
from stargate_assets.engines.chat_tokenizer import ChatTokenizer
from stargate_assets.engines.engine import Checkpoint
from stargate_assets.engines.transformers import Batching, TransformersEngine
from stargate_assets.method.examples import IGNORED, Dialogue, Example, tokenise
from stargate_assets.method.language_model import Message, ScoreRequest
from stargate_assets.storage.checkpoints import publish
from stargate_assets.training.labelled_loss import learn_where_labelled
from stargate_assets.training.spec import TrainingError, TrainingSpec, encode_dialogues
from stargate_assets.training.stages import collate
from stargate_assets.training.trainer import train
from stargate_assets_tests.training.test_trainer import spec

TOLD = (Message("system", "Ask."), Message("user", "I am Ana."))
GOOD, BAD = "What do you like to eat?", "Where is the moon?"
CLIP, KL_WEIGHT = 0.2, 0.5


def policy_spec(model: Path, output: Path, dialogues: Sequence[Dialogue], **training: Any):
    stated: dict[str, Any] = {"batch_size": 4, "epochs": 6, "learning_rate": 1e-2, **training}
    return spec(model, output, **stated).model_copy(
        update={"dialogues": encode_dialogues(dialogues)}
    )


def log_probs(model: Path, question: str, adapter: Path | None = None) -> tuple[float, ...]:
    engine = TransformersEngine(str(model), None, "float32", "cpu", Batching())
    engine.use(Checkpoint(adapter, "any") if adapter else None)
    ((_, score),) = engine.score([ScoreRequest(TOLD, question, end_of_turn=True)])
    return score.log_probs


def lessons(model: Path, loss: str) -> list[Dialogue]:
    """One kind of question is worth more: two conversations of it, and two of the other."""
    found = list[Dialogue]()
    for question, advantage in ((GOOD, 1.0), (BAD, -1.0)):
        dialogue = Dialogue("question", (*TOLD, Message("assistant", question)), advantage)
        if loss == "reinforce":
            scored = log_probs(model, question)
            found.append(Dialogue("question", dialogue.messages, advantage, scored, scored))
        elif advantage > 0:
            found.append(dialogue)
    return 2 * found


def test_gradients_are_those_of_a_computation_by_hand(tiny_model: Path) -> None:
    """In fp64 but for the model's own norms; the second row is an answer, which is fine-tuned, and
    the third is clipped.
    """
    model, plain = (
        AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float64) for _ in range(2)
    )
    learn_where_labelled(model, Training(loss="reinforce", clip=CLIP, kl_weight=KL_WEIGHT))
    nothing = IGNORED
    examples = [
        Example(
            "question", (5, 6, 7, 8), (nothing, nothing, 7, 8), -1.5, (0, 0, -10.75, -10.875),
            (0, 0, -10.625, -11.0),
        ),
        Example("answer", (5, 6, 9), (nothing, nothing, 9)),
        Example("question", (4, 5, 3), (nothing, nothing, 3), 2.0, (0, 0, -14.0), (0, 0, -10.0)),
    ]  # fmt: skip
    found = model(**_in_fp64(collate(examples, 0)), num_items_in_batch=4)["loss"]
    found.backward()

    total = torch.zeros((), dtype=torch.float64)
    for example in examples:
        logits = plain(torch.tensor([example.tokens])).logits[0].double().log_softmax(-1)
        for place in range(2, len(example.tokens)):
            log_prob = logits[place - 1, example.tokens[place]]
            if example.sampled is None or example.base is None:
                total = total - log_prob
                continue
            ratio = torch.exp(log_prob - example.sampled[place])
            kept = min(max(float(ratio), 1 - CLIP), 1 + CLIP)
            free, held = ratio * example.weight, ratio.new_tensor(kept * example.weight)
            above = example.base[place] - log_prob
            total = total - (free if float(free) <= float(held) else held)
            total = total + KL_WEIGHT * (torch.exp(above) - above - 1)
    (total / 4).backward()
    assert found.item() == pytest.approx(total.item() / 4, rel=1e-9)
    for ours, by_hand in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, by_hand.grad, rtol=1e-6, atol=1e-10)


def _in_fp64(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {k: t.double() if t.is_floating_point() else t for k, t in batch.items()}


@pytest.mark.parametrize("loss", ["weighted_sft", "reinforce"])
def test_a_planted_bandit_is_found(tiny_model: Path, tmp_path: Path, loss: str) -> None:
    stated = policy_spec(tiny_model, tmp_path / "out", lessons(tiny_model, loss), loss=loss)
    result = train(stated, lambda *_: None)
    assert result.question_examples == len(stated.dialogues)
    good, bad = (
        sum(log_probs(tiny_model, q, tmp_path / "out")) - sum(log_probs(tiny_model, q))
        for q in (GOOD, BAD)
    )
    assert good > bad
    assert good > 0
    if loss == "reinforce":
        assert bad < 0
        assert result.losses[0] == pytest.approx(_on_policy_loss(stated, tiny_model), abs=1e-4)


def _on_policy_loss(stated: TrainingSpec, model: Path) -> float:
    """Before the first step ratios are 1 and nothing diverges: the mean advantage, by tokens."""
    chat = ChatTokenizer(AutoTokenizer.from_pretrained(model), str(model), {})
    examples = [e for d in stated.decode_dialogues() for e in tokenise(d, chat)]
    tokens = [sum(label != IGNORED for label in e.labels) for e in examples]
    weighed = sum(n * e.weight for n, e in zip(tokens, examples, strict=True))
    return -weighed / sum(tokens)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_training_goes_on_from_the_policy_before(
    tiny_model: Path, tmp_path: Path, method: str
) -> None:
    """Two trainings of one epoch make its question more probable than one does."""
    stated = policy_spec(
        tiny_model, tmp_path / "one", lessons(tiny_model, "weighted_sft"),
        loss="weighted_sft", method=method, epochs=1, start_from="previous",
    )  # fmt: skip
    train(stated, lambda *_: None)
    sha256 = publish(tmp_path / "one", tmp_path / "1-train_b")
    before = {"start": str(tmp_path / "1-train_b"), "start_sha256": sha256}
    again = stated.model_copy(update={"output": tmp_path / "two"} | before)
    assert again.digest != stated.digest
    train(again, lambda *_: None)
    first, second = (
        sum(log_probs(path, GOOD) if method == "full" else log_probs(tiny_model, GOOD, path))
        for path in (tmp_path / "1-train_b", tmp_path / "two")
    )
    assert second > first > sum(log_probs(tiny_model, GOOD))


def test_scores_of_other_tokens_are_refused(tiny_model: Path, tmp_path: Path) -> None:
    (good, *_) = lessons(tiny_model, "reinforce")
    odd = Dialogue("question", good.messages, 1.0, (-1.0,), (-1.0,))
    with pytest.raises(TrainingError, match=r"scores other tokens .*\(1 log-probabilities were"):
        train(policy_spec(tiny_model, tmp_path / "out", [odd], loss="reinforce"), lambda *_: None)
