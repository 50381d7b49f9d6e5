"""Fine-tune the base model on a cell's examples with transformers' Trainer, by LoRA or in full."""

import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from stargate_assets.engines.chat_tokenizer import ChatTokenizer
from stargate_assets.method.examples import IGNORED, Example, tokenise
from stargate_assets.training.spec import TrainingError, TrainingResult, TrainingSpec

OnLoss = Callable[[int, int, float], None]
"""Called with the step, the number of steps, and the mean loss (nats a labelled token)."""


def train(spec: TrainingSpec, on_loss: OnLoss) -> TrainingResult:
    """Train and save into `spec.output`. Raises TrainingError, having saved nothing, when there is
    nothing to learn or the loss is not a finite number.
    """
    tokenizer = AutoTokenizer.from_pretrained(spec.model, revision=spec.revision or "main")
    chat = ChatTokenizer(tokenizer, spec.model)
    examples = [example for d in spec.decoded() for example in tokenise(d, chat)]
    check_examples(examples)
    model = _model(spec)
    losses = _Losses(on_loss)
    trainer = _Trainer(
        model=model,
        args=_arguments(spec, len(examples)),
        train_dataset=_Rows(examples),
        data_collator=lambda rows: collate(rows, tokenizer.pad_token_id or 0),
        callbacks=[losses],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    if isinstance(model, PeftModel):
        adapted = cast("LoraConfig", model.peft_config["default"])
        # PEFT writes a set, whose order would give the same weights another hash each time.
        adapted.target_modules = sorted(cast("set[str]", adapted.target_modules))
    model.save_pretrained(str(spec.output))
    (spec.output / "README.md").unlink(missing_ok=True)  # a model card that PEFT leaves unfilled
    if spec.training.method == "full":
        tokenizer.save_pretrained(spec.output)
    return TrainingResult(
        question_examples=sum(example.kind == "question" for example in examples),
        answer_examples=sum(example.kind == "answer" for example in examples),
        steps=trainer.state.global_step,
        first_loss=losses.seen[0],
        last_loss=losses.seen[-1],
    )


def check_examples(examples: Sequence[Example]) -> None:
    """Every example must teach something: an example without labels would be averaged in as
    silence.
    """
    if not examples:
        raise TrainingError(
            "There is no conversation to learn from; see column ineligibility of the "
            "conversations table for why."
        )
    for number, example in enumerate(examples):
        if all(label == IGNORED for label in example.labels):
            raise TrainingError(
                f"Example {number} ({example.kind}) has no label to learn; its assistant turn is "
                "empty."
            )


def collate(rows: Sequence[dict[str, Any]], pad_id: int) -> dict[str, torch.Tensor]:
    """Pad on the right. The mask comes from lengths, never from the pad id, which may be a real end
    of turn.
    """
    width = max(len(row["input_ids"]) for row in rows)

    def padded(name: str, filler: int) -> torch.Tensor:
        return torch.tensor([[*row[name], *[filler] * (width - len(row[name]))] for row in rows])

    lengths = torch.tensor([len(row["input_ids"]) for row in rows])
    return {
        "input_ids": padded("input_ids", pad_id),
        "labels": padded("labels", IGNORED),
        "attention_mask": (torch.arange(width) < lengths[:, None]).long(),
    }


class _Rows(torch.utils.data.Dataset[dict[str, Any]]):
    def __init__(self, examples: Sequence[Example]):
        self.examples = examples

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        example = self.examples[index]
        return {"input_ids": list(example.tokens), "labels": list(example.labels)}


class _Trainer(Trainer):
    """Computes logits where there is a label and nowhere else: most tokens are context, and on a
    small model the vocabulary costs more than the layers. Models that do more to their logits than
    one product keep their own loss.
    """

    plain_head: bool | None = None

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        if self.plain_head is None:
            with torch.no_grad():
                whole = model(**inputs, num_items_in_batch=num_items_in_batch).loss
                found = labelled_loss(model, inputs, num_items_in_batch)
            self.plain_head = torch.allclose(whole, found, rtol=0.01)
        if not self.plain_head or return_outputs:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        return labelled_loss(model, inputs, num_items_in_batch)


def labelled_loss(
    model: Any, inputs: dict[str, torch.Tensor], items: torch.Tensor | int | None
) -> torch.Tensor:
    """Mean negative log-probability (nats) of the labelled tokens, over `items` tokens if given."""
    causal: Any = model.get_base_model() if isinstance(model, PeftModel) else model
    hidden = causal.get_decoder()(
        input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]
    ).last_hidden_state[:, :-1]
    targets = inputs["labels"][:, 1:]
    learnt = targets != IGNORED
    logits = causal.get_output_embeddings()(hidden[learnt]).float()
    total = torch.nn.functional.cross_entropy(logits, targets[learnt], reduction="sum")
    return total / (learnt.sum() if items is None else items)


class _Losses(TrainerCallback):
    def __init__(self, on_loss: OnLoss):
        self.on_loss, self.seen = on_loss, list[float]()

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
        self.on_loss(state.global_step, state.max_steps, loss)


def _model(spec: TrainingSpec) -> Any:
    """The base model. Frozen weights may be bf16; weights that are trained are fp32, and computed
    in bf16.
    """
    lora = spec.training.method == "lora"
    model = AutoModelForCausalLM.from_pretrained(
        spec.model,
        revision=spec.revision or "main",
        dtype=torch.bfloat16 if lora and spec.bf16 else torch.float32,
    )
    if not lora:
        return model
    torch.manual_seed(spec.seed)
    config = LoraConfig(
        r=spec.training.lora_rank,
        lora_alpha=spec.training.lora_alpha,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, config)


def _arguments(spec: TrainingSpec, examples: int) -> TrainingArguments:
    training = spec.training
    together = min(training.device_batch_size, training.batch_size)
    accumulated = math.ceil(training.batch_size / together)
    steps = training.epochs * math.ceil(math.ceil(examples / together) / accumulated)
    return TrainingArguments(
        output_dir=str(spec.output.with_name(f"{spec.output.name}.trainer")),
        seed=spec.seed % 2**32,
        data_seed=spec.seed % 2**32,
        num_train_epochs=training.epochs,
        per_device_train_batch_size=together,
        gradient_accumulation_steps=accumulated,
        learning_rate=training.learning_rate,
        lr_scheduler_type=training.schedule,
        # A warm-up begins at 0: were it the whole of a short training, nothing would be learnt.
        warmup_steps=min(math.ceil(training.warmup_share * steps), steps - 1),
        max_grad_norm=training.max_grad_norm,
        bf16=spec.bf16,
        use_cpu=spec.device == "cpu",
        train_sampling_strategy="group_by_length",
        remove_unused_columns=False,
        logging_strategy="steps",
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
