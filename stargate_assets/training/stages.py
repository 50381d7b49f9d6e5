"""A stage of a training: its examples as batches, and the Trainer that takes its steps."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch.utils.data import DataLoader, Dataset
from transformers import PrinterCallback, TrainerCallback, TrainingArguments

from stargate_assets.config.training import Training
from stargate_assets.method.examples import IGNORED, Example
from stargate_assets.training.batches import MicroBatches
from stargate_assets.training.gathered import GatheringTrainer
from stargate_assets.training.preferences import ExamplePair, halve_device_batch, reference_margins
from stargate_assets.training.saved import Saved
from stargate_assets.training.saving import Saves, Saving
from stargate_assets.training.spec import TrainingError


@dataclass(frozen=True, slots=True)
class Stage:
    """What is learnt in one go: how long each example is (or pair, if `compares`), and how some of
    them become a batch.
    """

    training: Training
    devices: int
    lengths: Sequence[int]
    batch: Callable[[Sequence[int]], dict[str, torch.Tensor]]
    compares: bool

    @property
    def steps(self) -> int:
        return self.training.epochs * math.ceil(len(self.lengths) / self.training.batch_size)


def stage_of_examples(
    training: Training, devices: int, examples: Sequence[Example], pad_id: int
) -> Stage:
    def batch(rows: Sequence[int]) -> dict[str, torch.Tensor]:
        return collate([examples[i] for i in rows], pad_id)

    return Stage(training, devices, [len(e.tokens) for e in examples], batch, compares=False)


def stage_of_pairs(
    training: Training, devices: int, pairs: Sequence[ExamplePair], pad_id: int
) -> Stage:
    def batch(rows: Sequence[int]) -> dict[str, torch.Tensor]:
        """Chosen and rejected in turn, and which pairs they are."""
        examples = [e for i in rows for e in (pairs[i].chosen, pairs[i].rejected)]
        return collate(examples, pad_id) | {"pairs": torch.tensor(rows, dtype=torch.long)}

    lengths = [pair.tokens for pair in pairs]
    return Stage(halve_device_batch(training), devices, lengths, batch, compares=True)


def run_stage(
    model: Any,
    stage: Stage,
    arguments: TrainingArguments,
    on_loss: Callable[[int, float], None],
    saves: Saves | None = None,
) -> list[float]:
    """Take a stage's steps, or those that are left; the loss of each."""
    begun = saves.goes_on if saves else None
    losses = _Losses(on_loss, begun.losses if begun else ())
    kind = _PairTrainer if stage.compares else _Trainer
    trainer = kind(stage, begun, model=model, args=arguments, callbacks=[losses])
    trainer.remove_callback(PrinterCallback)
    if saves:
        trainer.add_callback(Saving(trainer, saves))
    trainer.train(resume_from_checkpoint=str(begun.path) if begun else None)
    return losses.seen


def collate(examples: Sequence[Example], pad_id: int) -> dict[str, torch.Tensor]:
    """Pad on the right. The mask comes from lengths, never from the pad id, which may be a real end
    of turn. No examples become one token, from which nothing is learnt. Weights and
    log-probabilities are there where some example has them.
    """
    examples = examples or [Example("answer", (pad_id,), (IGNORED,))]
    lengths = torch.tensor([len(e.tokens) for e in examples])
    width = int(lengths.max())

    def padded(rows: Iterable[Sequence[float]], filler: float) -> torch.Tensor:
        return torch.tensor([[*row, *[filler] * (width - len(row))] for row in rows])

    batch = {
        "input_ids": padded((e.tokens for e in examples), pad_id),
        "labels": padded((e.labels for e in examples), IGNORED),
        "attention_mask": (torch.arange(width) < lengths[:, None]).long(),
    }
    if any(e.weight != 1 or e.sampled for e in examples):
        batch["weights"] = torch.tensor([e.weight for e in examples])
    if any(e.sampled for e in examples):
        batch["has_sampled"] = torch.tensor([e.sampled is not None for e in examples])
        batch["sampled"] = padded((e.sampled or () for e in examples), 0.0)
        batch["base"] = padded((e.base or () for e in examples), 0.0)
    return batch


class _Trainer(GatheringTrainer):
    """Takes batches as they are, and divides losses by the labelled tokens of a step on all
    devices.
    """

    reference: torch.Tensor | None = None
    """What the model preferred before the first step, of trainings that compare with it."""

    def __init__(self, stage: Stage, begun: Saved | None, **stated: Any):
        super().__init__(**stated)
        self.stage, self.model_accepts_loss_kwargs = stage, True
        order = begun.order if begun else None
        device, lengths = self.args.process_index, stage.lengths
        self.batches = MicroBatches(lengths, stage.training, stage.devices, device, order)
        if begun and begun.reference is not None:
            self.reference = torch.tensor(begun.reference)

    def get_train_dataloader(self) -> DataLoader[Any]:
        rows = cast("Dataset[int]", range(len(self.stage.lengths)))
        return DataLoader(rows, batch_sampler=self.batches, collate_fn=self.stage.batch)


class _PairTrainer(_Trainer):
    """Asks the model for its margins before the first step, and divides losses by the pairs of a
    step on all devices.
    """

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> Any:
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        pairs = sum(len(batch["pairs"]) for batch in batches)
        return batches, self._over_devices(torch.tensor(float(pairs)))

    def training_step(
        self, model: Any, inputs: Any, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        if self.reference is None:
            stage = self.stage
            model.eval()
            of_device = reference_margins(
                stage.lengths,
                stage.training,
                stage.devices,
                self.args.process_index,
                lambda rows: self._margins(model, rows),
            )
            self.reference = self._over_devices(of_device).cpu()
        reference = self.reference[inputs.pop("pairs")]
        return super().training_step(model, inputs | {"reference": reference}, num_items_in_batch)

    @torch.no_grad()
    def _margins(self, model: Any, rows: Sequence[int]) -> torch.Tensor:
        inputs = self.stage.batch(rows)
        inputs["reference"] = torch.zeros(len(inputs.pop("pairs")))
        return model(**self._prepare_inputs(inputs), num_items_in_batch=1)["margins"]

    def _over_devices(self, tensor: torch.Tensor) -> torch.Tensor:
        """The sum over all processes."""
        return cast("torch.Tensor", self.accelerator.reduce(tensor.to(self.args.device), "sum"))


class _Losses(TrainerCallback):
    def __init__(self, on_loss: Callable[[int, float], None], before: Sequence[float]):
        self.on_loss, self.seen = on_loss, list(before)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if not logs or "loss" not in logs:
            return
        loss = float(logs["loss"])
        if not math.isfinite(loss):
            raise TrainingError(
                f"The loss is {loss} at step {state.global_step}; nothing is published. Lower "
                "training.learning_rate."
            )
        self.seen.append(loss)
        self.on_loss(state.global_step, loss)
