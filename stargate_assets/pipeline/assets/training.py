"""Answer and train: the second half of an iteration (Algorithm 1, lines 5 and 6)."""

import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import dagster as dg
import polars as pl

from stargate_assets.config.experiment import Experiment, Labels
from stargate_assets.method.conversation import Conversation
from stargate_assets.method.examples import Dialogue, answer_alone
from stargate_assets.method.keys import derive_seed
from stargate_assets.method.language_model import (
    ChatRequest,
    Completion,
    LanguageModel,
    Message,
    Sampling,
)
from stargate_assets.method.plan import TEST_SPLIT, is_training_cell
from stargate_assets.method.preferences import comparisons
from stargate_assets.method.prompts import questioner_messages, respondent_messages
from stargate_assets.method.simulation import Cell
from stargate_assets.models.pool import ModelPool
from stargate_assets.pipeline.assets.frames import (
    conversations_of,
    gold_texts,
    pairs_of,
    row_key,
    table,
)
from stargate_assets.pipeline.assets.grid import (
    GPU_POOL,
    cell_of,
    grid_asset,
    grid_output,
    inputs,
    policy_checkpoint,
    report_policy,
)
from stargate_assets.storage.checkpoints import (
    TrainingRecord,
    find_training,
    publish,
    reuse_checkpoint,
)
from stargate_assets.storage.completions import Use
from stargate_assets.storage.warehouse import Warehouse
from stargate_assets.training.spec import (
    TrainingError,
    TrainingResult,
    TrainingSpec,
    encoded,
    encoded_preferences,
)

CHECKPOINTS = "checkpoints"
SAMPLE = ["task_id", "persona_id", "sample"]
"""The key of a conversation within a cell."""


def training_assets(name: str, experiment: Experiment) -> list[dg.AssetsDefinition]:
    """regularization_responses and checkpoints on the grid."""
    data_set, asset = experiment.data_set, grid_asset(name, experiment)

    @asset(
        "regularization_responses",
        {"transformers"},
        "What the policy learns to answer after each best conversation: policy i's own greedy "
        "answer (line 5), unless the experiment says the gold response, or nothing.",
        ins=inputs(data_set, "tasks", "personas", "gold_responses")
        | inputs(name, "conversations", "best_conversations"),
        pool=GPU_POOL,
    )
    def regularization_responses(
        context: dg.AssetExecutionContext,
        warehouse: dg.ResourceParam[Warehouse],
        models: dg.ResourceParam[ModelPool],
        tasks: pl.DataFrame,
        personas: pl.DataFrame,
        gold_responses: pl.DataFrame,
        conversations: pl.DataFrame,
        best_conversations: pl.DataFrame,
    ) -> dg.Output[pl.DataFrame]:
        cell, stated = cell_of(context.partition_key), experiment.regularization
        best = selected_conversations(tasks, personas, conversations, best_conversations)
        said: list[tuple[str | None, bool]] = []
        counts: dict[str, int] = {}
        if stated.response == "own":
            checkpoint = policy_checkpoint(warehouse, name, cell)
            use = Use(name, cell.key, "respondent")
            policy = models.open(experiment.questioner, use, checkpoint)
            answers = answered(policy, best, stated.answer_tokens)
            said = [learnt_of(answer, only_answers=stated.only_answers) for answer in answers]
            counts["refused"] = sum(answer.finish_reason == "refused" for answer in answers)
            counts["no_answer"] = sum(text is None for text, _ in said)
        elif stated.response == "gold":
            gold = gold_texts(gold_responses)
            said = [(gold[c.pair.key], False) for c in best]
        learnt = best if said else []
        rows = [
            {**row_key(cell, *c.pair.key, c.sample), "text": text, "truncated": truncated}
            for c, (text, truncated) in zip(learnt, said, strict=True)
            if text is not None
        ]
        frame = table("regularization_responses", rows)
        counts["truncated"] = int(frame["truncated"].sum())
        return grid_output(frame, warehouse, name, experiment, cell, counts)

    @asset(
        "checkpoints",
        {"transformers", "peft"},
        "The base model fine-tuned on questions and own answers (line 6). In cell (i, s(i)) it "
        "is policy i + 1.",
        ins=inputs(data_set, "tasks", "personas")
        | inputs(name, "conversations", "best_conversations", "regularization_responses"),
        pool=GPU_POOL,
        output_required=False,
    )
    def checkpoints(
        context: dg.AssetExecutionContext,
        warehouse: dg.ResourceParam[Warehouse],
        models: dg.ResourceParam[ModelPool],
        pipes: dg.PipesSubprocessClient,
        tasks: pl.DataFrame,
        personas: pl.DataFrame,
        conversations: pl.DataFrame,
        best_conversations: pl.DataFrame,
        regularization_responses: pl.DataFrame,
    ):
        cell = cell_of(context.partition_key)
        if cell.split == TEST_SPLIT:
            context.log.info("The held-out split is never trained on: no checkpoint in this cell.")
            return
        split = tasks, personas, conversations, best_conversations
        best = selected_conversations(*split)
        others = rejected_conversations(*split) if experiment.training.compares else []
        spec = training_spec(models, name, experiment, cell, best, others, regularization_responses)
        frame, source = train_checkpoint(context, models, pipes, name, cell, spec)
        row = frame.row(0, named=True)
        numbers: dict[str, float | str] = {"steps": row["steps"]}
        for kind in ("loss", "preference_loss"):
            if losses := row[f"{kind}es"]:
                numbers |= {f"first_{kind}": losses[0], f"last_{kind}": losses[-1]}
        if source is not None:
            numbers["taken over from"] = str(source)
        yield grid_output(frame, warehouse, name, experiment, cell, numbers, row["sha256"])
        if is_training_cell(cell):
            report_policy(context, name, cell.iteration + 1, row["sha256"])

    return [regularization_responses, checkpoints]


def selected_conversations(
    tasks: pl.DataFrame,
    personas: pl.DataFrame,
    conversations: pl.DataFrame,
    best_conversations: pl.DataFrame,
) -> list[Conversation]:
    """The best conversations with their transcripts, ordered by pair and sample."""
    best = conversations.join(best_conversations, on=SAMPLE, how="semi")
    return conversations_of(best, pairs_of(tasks, personas))


def rejected_conversations(
    tasks: pl.DataFrame,
    personas: pl.DataFrame,
    conversations: pl.DataFrame,
    best_conversations: pl.DataFrame,
) -> list[Conversation]:
    """The eligible conversations that are not among the best, ordered by pair and sample."""
    others = conversations.filter(pl.col("ineligibility").is_null()).join(
        best_conversations, on=SAMPLE, how="anti"
    )
    return conversations_of(others, pairs_of(tasks, personas))


def answered(
    policy: LanguageModel, conversations: Sequence[Conversation], max_tokens: int
) -> list[Completion]:
    """The policy's greedy answer to the task of each conversation."""
    sampling = Sampling(max_tokens)
    requests = [ChatRequest(respondent_messages(c), sampling) for c in conversations]
    return policy.chat(requests, "answering tasks")


def learnt_of(answer: Completion, *, only_answers: bool) -> tuple[str | None, bool]:
    """What is learnt of an answer, None for nothing, and whether it is cut off."""
    truncated = answer.finish_reason == "length"
    if only_answers:
        return answer_alone(answer.text, broken_off=truncated), False
    return answer.text, truncated


def training_dialogues(
    conversations: Sequence[Conversation], responses: pl.DataFrame, labels: Labels = "assistant"
) -> list[Dialogue]:
    """For each conversation its question turns, and its answer turn unless that was cut off, is
    empty or is not to be learnt. Where nothing was asked, the policy learns to answer although it
    was told to ask.
    """
    columns = ("task_id", "persona_id", "sample", "text", "truncated")
    answer_of = {
        (task, persona, sample): None if truncated or not text else text
        for task, persona, sample, text, truncated in responses.select(columns).iter_rows()
    }
    dialogues: list[Dialogue] = []
    for c in conversations:
        asking = questioner_messages(c)
        if c.questions and labels == "assistant":
            # The last reply is followed by no question.
            dialogues.append(Dialogue("question", asking[:-1]))
        elif c.questions:
            dialogues.append(Dialogue("question_and_reply", asking))
        answer = answer_of.get((*c.pair.key, c.sample))
        if answer is not None:
            contexts = [respondent_messages(c)] if c.questions else [respondent_messages(c), asking]
            answered = Message("assistant", answer)
            dialogues += [Dialogue("answer", (*context, answered)) for context in contexts]
    return dialogues


def training_spec(
    models: ModelPool,
    name: str,
    experiment: Experiment,
    cell: Cell,
    best: Sequence[Conversation],
    rejected: Sequence[Conversation],
    responses: pl.DataFrame,
) -> TrainingSpec:
    """What the training program is told of a cell. `rejected` are there where the loss compares."""
    training, final = experiment.training, checkpoint_directory(models, name, cell)
    dialogues = training_dialogues(best, responses, training.labels) if training.fine_tunes else []
    compared = comparisons(best, rejected)
    return TrainingSpec(
        model=models.path(experiment.questioner),
        identity=models.identity(experiment.questioner),
        revision=experiment.questioner.revision,
        device=models.device(),
        bf16=models.dtype(experiment.questioner) == "bfloat16",
        seed=derive_seed(experiment.seed, "training", cell.iteration, cell.split),
        training=training,
        dialogues=encoded(dialogues),
        preferences=encoded_preferences(c.preference for c in compared if c.preference),
        output=final.with_name(f".{final.name}.partial"),
        processes=models.machine.training_processes,
        gradient_checkpointing=models.machine.gradient_checkpointing,
    )


def checkpoint_directory(models: ModelPool, name: str, cell: Cell) -> Path:
    return models.warehouse / CHECKPOINTS / name / f"{cell.iteration}-{cell.split}"


def train_checkpoint(
    context: dg.AssetExecutionContext,
    models: ModelPool,
    pipes: dg.PipesSubprocessClient,
    name: str,
    cell: Cell,
    spec: TrainingSpec,
) -> tuple[pl.DataFrame, Path | None]:
    """Fine-tune the base model in a child process, unless the same was trained before; the row of
    `checkpoints` that describes the published directory, and whose files it took over, in the
    warehouse.
    """
    final, aside = checkpoint_directory(models, name, cell), spec.output
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    before = find_training(models.warehouse / CHECKPOINTS, spec.digest, final)
    if before is not None:
        source, training = before
        result = TrainingResult.model_validate(training.result)
        sha256 = reuse_checkpoint(source, aside, final, training)
    else:
        source, result = None, _trained(context, models, pipes, spec)
        sha256 = publish(aside, final, TrainingRecord(spec.digest, result.model_dump()))
    frame = table(
        "checkpoints",
        [
            {
                "iteration": cell.iteration,
                "split": cell.split,
                "path": str(final.relative_to(models.warehouse)),
                "sha256": sha256,
                **result.model_dump(),
            }
        ],
    )
    return frame, None if source is None else source.relative_to(models.warehouse)


def _trained(
    context: dg.AssetExecutionContext,
    models: ModelPool,
    pipes: dg.PipesSubprocessClient,
    spec: TrainingSpec,
) -> TrainingResult:
    models.close()
    spec_file = spec.output.with_suffix(".json")
    spec_file.write_text(spec.model_dump_json())
    learnt = len(spec.dialogues) + len(spec.preferences)
    models.on_progress("training, examples", 0, learnt)
    started = time.monotonic()
    result = run_program(context, pipes, spec_file)
    models.usage.training_seconds += time.monotonic() - started
    models.on_progress("training, examples", learnt, learnt)
    spec_file.unlink()
    return result


def run_program(
    context: dg.AssetExecutionContext, pipes: dg.PipesSubprocessClient, spec_file: Path
) -> TrainingResult:
    command = [sys.executable, "-W", "ignore", "-m", "stargate_assets.training", str(spec_file)]
    (report,) = pipes.run(context=context, command=command).get_custom_messages()
    if "error" in report:
        raise TrainingError(report["error"])
    return TrainingResult.model_validate(report["result"])
