"""Fine-tune the base model on a cell's examples with transformers' Trainer, by LoRA or in full.

With several processes, each runs all of this on a device of its own. LoRA repeats the model on
every device (DDP), full fine-tuning shares weights, gradients and Adam's moments out (FSDP).
"""

import gc
import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from peft import LoraConfig, PeftModel
from peft.helpers import disable_input_dtype_casting
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    TrainingArguments,
)
from transformers.distributed.configuration_utils import DistributedConfig

from stargate_assets.engines.chat_tokenizer import ChatTokenizer
from stargate_assets.method.examples import IGNORED, Example, tokenise
from stargate_assets.training.adapter import add_adapter
from stargate_assets.training.batches import accumulation_steps, examples_per_device
from stargate_assets.training.gathered import gather_weights, is_shared_out
from stargate_assets.training.labelled_loss import learn_where_labelled
from stargate_assets.training.preferences import ExamplePair, example_pairs
from stargate_assets.training.saved import find_saved, stage_directory
from stargate_assets.training.saving import OnSaved, Saves
from stargate_assets.training.spec import TrainingError, TrainingResult, TrainingSpec
from stargate_assets.training.stages import Stage, run_stage, stage_of_examples, stage_of_pairs

OnLoss = Callable[[int, int, float], None]
"""Called with the step, the number of steps, and the mean loss (nats a labelled token, or nats a
pair of a preference).
"""


def train(
    spec: TrainingSpec, on_loss: OnLoss, on_saved: OnSaved = lambda _: None
) -> TrainingResult:
    """Train and save into `spec.output`, and until then, at an interval, in `spec.saved`. Raises
    TrainingError, having published nothing, when there is nothing to learn or the loss is not a
    finite number.
    """
    tokenizer = AutoTokenizer.from_pretrained(spec.model, revision=spec.revision or "main")
    chat = ChatTokenizer(tokenizer, spec.model, spec.chat_template_kwargs)
    pad_id = tokenizer.pad_token_id or 0
    examples, pairs, stages = list[Example](), list[ExamplePair](), list[Stage]()
    if spec.training.fine_tunes:
        examples = tokenise_dialogues(spec, chat)
        check_examples(examples)
        stages.append(stage_of_examples(spec.training, spec.processes, examples, pad_id))
    if spec.training.compares:
        pairs = example_pairs(spec.decode_preferences(), chat)
        check_pairs(pairs)
        stages.append(stage_of_pairs(spec.training, spec.processes, pairs, pad_id))
    arguments = [_arguments(spec, stage, number) for number, stage in enumerate(stages)]
    model = _model(spec)  # after the arguments, which join the processes that it is spread over
    total, saved = sum(stage.steps for stage in stages), find_saved(spec.saved)
    losses = list(saved.before) if saved else []
    with disable_input_dtype_casting(model):  # to fp32, from which autocast casts back to bf16
        for stage, stated in list(zip(stages, arguments, strict=True))[len(losses) :]:
            before = sum(map(len, losses))

            def report_loss(step: int, loss: float, before: int = before) -> None:
                on_loss(before + step, total, loss)

            goes_on = saved if saved and len(saved.before) == len(losses) else None
            saves = Saves(60 * spec.save_minutes, on_saved, losses, goes_on)
            losses = [*losses, run_stage(model, stage, stated, report_loss, saves)]
            gc.collect()  # a trainer that is gone leaves no moments, and no hooks on gradients
    _save(model, tokenizer, spec, first=arguments[0].process_index == 0)
    return TrainingResult(
        question_examples=sum(example.kind != "answer" for example in examples),
        answer_examples=sum(example.kind == "answer" for example in examples),
        preference_pairs=len(pairs),
        steps=total,
        losses=losses[0] if spec.training.fine_tunes else [],
        preference_losses=losses[-1] if spec.training.compares else [],
    )


def tokenise_dialogues(spec: TrainingSpec, chat: ChatTokenizer) -> list[Example]:
    """The examples of the dialogues. Raises TrainingError where what was scored of one has other
    tokens.
    """
    try:
        return [example for d in spec.decode_dialogues() for example in tokenise(d, chat)]
    except ValueError as error:
        raise TrainingError(
            f"The engine scores other tokens than the tokenizer of {spec.model} writes ({error}); "
            "set training.loss: weighted_sft, which needs no scores."
        ) from error


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


def check_pairs(pairs: Sequence[ExamplePair]) -> None:
    if not pairs:
        raise TrainingError(
            "There is no preference to learn from: no kept conversation asks otherwise than an "
            "eligible one of its pair after the same dialogue. Raise simulation.samples, or train "
            "with loss: sft."
        )


def _save(model: Any, tokenizer: Any, spec: TrainingSpec, first: bool) -> None:
    """The first process writes, after all have gathered a model that is spread over them."""
    whole = None
    if is_shared_out(model):
        whole = gather_weights(model)
        for name in model.all_tied_weights_keys:  # gathered twice, and written once
            whole.pop(name, None)
        model.config.distributed_config = None
    if not first:
        return
    if isinstance(model, PeftModel):
        adapted = cast("LoraConfig", model.peft_config["default"])
        # PEFT writes sets, whose order would give the same weights another hash each time.
        adapted.target_modules = sorted(cast("set[str]", adapted.target_modules))
        adapted.target_parameters = sorted(adapted.target_parameters or ()) or None
    model.save_pretrained(str(spec.output), state_dict=whole)
    (spec.output / "README.md").unlink(missing_ok=True)  # a model card that PEFT leaves unfilled
    if spec.training.method == "full":
        tokenizer.save_pretrained(spec.output)


def _model(spec: TrainingSpec) -> Any:
    """What is trained on: the base model, or the policy before. Frozen weights may be bf16; weights
    that are trained are fp32, and computed in bf16.
    """
    lora = spec.training.method == "lora"
    whole = None if lora else spec.start
    shared_out = None
    if not lora and spec.processes > 1:
        shared_out = DistributedConfig(fsdp_size=spec.processes, fsdp_mixed_precision=spec.bf16)
    model = AutoModelForCausalLM.from_pretrained(
        whole or spec.model,
        revision="main" if whole else spec.revision or "main",
        dtype=torch.bfloat16 if lora and spec.bf16 else torch.float32,
        distributed_config=shared_out,
    )
    learn_where_labelled(model, spec.training)
    if lora and spec.start:
        return PeftModel.from_pretrained(model, spec.start, is_trainable=True)
    return add_adapter(model, spec) if lora else model


def _arguments(spec: TrainingSpec, stage: Stage, number: int) -> TrainingArguments:
    training, steps = stage.training, stage.steps
    return TrainingArguments(
        output_dir=str(stage_directory(spec.saved, number)),
        seed=spec.seed % 2**32,
        data_seed=spec.seed % 2**32,
        num_train_epochs=training.epochs,
        per_device_train_batch_size=examples_per_device(training, spec.processes),
        gradient_accumulation_steps=accumulation_steps(training, spec.processes),
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
