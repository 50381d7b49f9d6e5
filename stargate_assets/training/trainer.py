"""Fine-tune the base model on a cell's examples with transformers' Trainer, by LoRA or in full.

With several processes, each runs all of this on a device of its own. LoRA repeats the model on
every device (DDP), full fine-tuning shares weights, gradients and Adam's moments out (FSDP).
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.utils.data import DataLoader, Dataset
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from transformers.distributed.configuration_utils import DistributedConfig

from stargate_assets.engines.chat_tokenizer import ChatTokenizer
from stargate_assets.method.examples import IGNORED, Example, tokenise
from stargate_assets.training.batches import MicroBatches, accumulated, together
from stargate_assets.training.labelled_loss import learn_where_labelled
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
    arguments = _arguments(spec, len(examples))
    model = _model(spec)
    batches = MicroBatches(
        [len(example.tokens) for example in examples],
        spec.training,
        spec.processes,
        arguments.process_index,
    )
    losses = _Losses(on_loss)
    loader = DataLoader(
        _Rows(examples),
        batch_sampler=batches,
        collate_fn=lambda rows: collate(rows, tokenizer.pad_token_id or 0),
    )
    trainer = _Trainer(loader, model=model, args=arguments, callbacks=[losses])
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    _save(model, tokenizer, spec, first=arguments.process_index == 0)
    return TrainingResult(
        question_examples=sum(example.kind != "answer" for example in examples),
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
    of turn. No rows become one token, from which nothing is learnt.
    """
    rows = rows or [{"input_ids": [pad_id], "labels": [IGNORED]}]
    width = max(len(row["input_ids"]) for row in rows)

    def padded(name: str, filler: int) -> torch.Tensor:
        return torch.tensor([[*row[name], *[filler] * (width - len(row[name]))] for row in rows])

    lengths = torch.tensor([len(row["input_ids"]) for row in rows])
    return {
        "input_ids": padded("input_ids", pad_id),
        "labels": padded("labels", IGNORED),
        "attention_mask": (torch.arange(width) < lengths[:, None]).long(),
    }


class _Rows(Dataset[dict[str, Any]]):
    def __init__(self, examples: Sequence[Example]):
        self.examples = examples

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        example = self.examples[index]
        return {"input_ids": list(example.tokens), "labels": list(example.labels)}


class _Trainer(Trainer):
    """Takes batches as they are, and divides losses by the labelled tokens of a step on all
    devices.
    """

    def __init__(self, batches: DataLoader[dict[str, Any]], **stated: Any):
        super().__init__(**stated)
        self.batches, self.model_accepts_loss_kwargs = batches, True

    def get_train_dataloader(self) -> DataLoader[dict[str, Any]]:
        return self.batches


def _save(model: Any, tokenizer: Any, spec: TrainingSpec, first: bool) -> None:
    """The first process writes, after all have gathered a model that is spread over them."""
    whole = None
    if getattr(model.config, "distributed_config", None) is not None:
        options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        whole = get_model_state_dict(model, options=options)
        for name in model.all_tied_weights_keys:  # gathered twice, and written once
            whole.pop(name, None)
        model.config.distributed_config = None
    if not first:
        return
    if isinstance(model, PeftModel):
        adapted = cast("LoraConfig", model.peft_config["default"])
        # PEFT writes a set, whose order would give the same weights another hash each time.
        adapted.target_modules = sorted(cast("set[str]", adapted.target_modules))
    model.save_pretrained(str(spec.output), state_dict=whole)
    (spec.output / "README.md").unlink(missing_ok=True)  # a model card that PEFT leaves unfilled
    if spec.training.method == "full":
        tokenizer.save_pretrained(spec.output)


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
    shared_out = None
    if not lora and spec.processes > 1:
        shared_out = DistributedConfig(fsdp_size=spec.processes, fsdp_mixed_precision=spec.bf16)
    model = AutoModelForCausalLM.from_pretrained(
        spec.model,
        revision=spec.revision or "main",
        dtype=torch.bfloat16 if lora and spec.bf16 else torch.float32,
        distributed_config=shared_out,
    )
    learn_where_labelled(model)
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
    steps = training.epochs * math.ceil(examples / training.batch_size)
    return TrainingArguments(
        output_dir=str(spec.output.with_name(f"{spec.output.name}.trainer")),
        seed=spec.seed % 2**32,
        data_seed=spec.seed % 2**32,
        num_train_epochs=training.epochs,
        per_device_train_batch_size=together(training, spec.processes),
        gradient_accumulation_steps=accumulated(training, spec.processes),
        learning_rate=training.learning_rate,
        lr_scheduler_type=training.schedule,
        # A warm-up begins at 0: were it the whole of a short training, nothing would be learnt.
        warmup_steps=min(math.ceil(training.warmup_share * steps), steps - 1),
        max_grad_norm=training.max_grad_norm,
        bf16=spec.bf16,
        use_cpu=spec.device == "cpu",
        ddp_backend="gloo" if spec.device == "cpu" and spec.processes > 1 else None,
        gradient_checkpointing=spec.gradient_checkpointing or None,
        # Without this, each device would hold the whole model's gradients until the step's end.
        accelerator_config={
            "gradient_accumulation_kwargs": {"sync_each_batch": training.method == "full"}
        },
        ddp_find_unused_parameters=False,
        remove_unused_columns=False,
        logging_strategy="steps",
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
