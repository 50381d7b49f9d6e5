"""Answer and train: the second half of an iteration (Algorithm 1, lines 5 and 6)."""

import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import dagster as dg
import polars as pl
from dagster._core.errors import DagsterPipesExecutionError

from stargate_assets.config.experiment import Experiment
from stargate_assets.method.eligibility import ineligibility
from stargate_assets.method.examples import training_dialogues
from stargate_assets.method.keys import derive_seed
from stargate_assets.method.plan import TEST_SPLIT, is_training_cell
from stargate_assets.method.preferences import comparisons
from stargate_assets.method.simulation import Cell
from stargate_assets.models.pool import ModelPool, engine_kind
from stargate_assets.pipeline.assets.cell_run import CellRun
from stargate_assets.pipeline.assets.grid import cell_asset, report_policy
from stargate_assets.pipeline.assets.rows import (
    regularization_from_rows,
    regularization_rows,
    table_rows,
)
from stargate_assets.pipeline.assets.steps import find_lessons, regularize_cell
from stargate_assets.storage.checkpoints import (
    TrainingRecord,
    find_training,
    publish,
    reuse_checkpoint,
)
from stargate_assets.training.spec import (
    TrainingError,
    TrainingResult,
    TrainingSpec,
    encode_dialogues,
    encode_preferences,
)

CHECKPOINTS = "checkpoints"
Output = Iterator[dg.Output[pl.DataFrame]]


def training_assets(name: str, experiment: Experiment) -> list[dg.AssetsDefinition]:
    """regularization_responses and checkpoints on the grid."""

    @cell_asset(
        name,
        experiment,
        "What the policy learns to answer after each best conversation: policy i's own greedy "
        "answer (line 5), unless the experiment says the gold response, or nothing.",
        engines=(engine_kind(experiment.questioner),),
    )
    def regularization_responses(run: CellRun) -> Output:
        learnt, counts = regularize_cell(
            experiment, run.best_conversations, run.gold_texts, run.policy_model("respondent")
        )
        rows = regularization_rows(run.cell, learnt)
        yield run.output(rows, counts | {"truncated": int(rows["truncated"].sum())})

    @cell_asset(
        name,
        experiment,
        "The base model fine-tuned on questions and own answers (line 6). In cell (i, s(i)) it "
        "is policy i + 1.",
        engines=("transformers", "peft"),
        output_required=False,
    )
    def checkpoints(run: CellRun) -> Output:
        if run.cell.split == TEST_SPLIT:
            run.context.log.info("The held-out split is never trained on: no checkpoint here.")
            return
        spec, counts = training_spec(run)
        rows, source = train_checkpoint(run, spec)
        row = rows.row(0, named=True)
        numbers: dict[str, float | str] = {"steps": row["steps"], **counts}
        for kind in ("loss", "preference_loss"):
            if losses := row[f"{kind}es"]:
                numbers |= {f"first_{kind}": losses[0], f"last_{kind}": losses[-1]}
        if source is not None:
            numbers["taken over from"] = str(source)
        yield run.output(rows, numbers, row["sha256"])
        if is_training_cell(run.cell):
            report_policy(run.context, name, run.cell.iteration + 1, row["sha256"])

    return [regularization_responses, checkpoints]


def training_spec(run: CellRun) -> tuple[TrainingSpec, dict[str, int]]:
    """Say what the training program needs to know of a cell, and how many conversations teach
    nothing, by reason, where all of them may. Those that were not selected matter only to a loss
    that compares or weighs.
    """
    experiment, models, training = run.experiment, run.models, run.experiment.training
    machine = models.machine
    workers = machine.training_workers
    best, questioner = run.best_conversations, run.experiment.questioner
    learnt = regularization_from_rows(run.rows("regularization_responses"), best)
    dialogues, counts = [], dict[str, int]()
    if training.fine_tunes:
        dialogues = training_dialogues(best, learnt, experiment.told, training.labels)
    if training.weighs:
        policy, base = run.policy_model("questioner"), run.model("scorer")
        lessons, counts = find_lessons(experiment, run.conversations, run.scores, policy, base)
        dialogues = [*lessons, *(d for d in dialogues if d.kind == "answer")]
    start = run.policy if training.start_from == "previous" else None
    rejected = []
    if training.compares:
        kept = {c.key for c in best}
        eligible = [c for c in run.conversations if ineligibility(c) is None]
        rejected = [c for c in eligible if c.key not in kept]
    preferences = (pair.preference for pair in comparisons(best, rejected, experiment.told))
    final = checkpoint_directory(models, run.name, run.cell)
    spec = TrainingSpec(
        model=models.path(questioner),
        identity=models.identity(questioner),
        revision=questioner.revision,
        start=str(start.path) if start else None,
        start_sha256=start.sha256 if start else None,
        device=models.engine_device() if workers else models.device(),
        bf16=models.dtype(questioner) == "bfloat16",
        seed=derive_seed(experiment.seed, "training", run.cell.iteration, run.cell.split),
        training=training,
        dialogues=encode_dialogues(dialogues),
        preferences=encode_preferences(p for p in preferences if p),
        output=final.with_name(f".{final.name}.partial"),
        processes=workers or machine.training_processes,
        cluster=machine.cluster if workers else None,
        gradient_checkpointing=machine.gradient_checkpointing,
        save_minutes=machine.training_save_minutes,
        chat_template_kwargs=questioner.chat_template_kwargs,
    )
    return spec, counts


def checkpoint_directory(models: ModelPool, name: str, cell: Cell) -> Path:
    """Where the checkpoint of a cell stands once it is complete."""
    return models.directory / CHECKPOINTS / name / f"{cell.iteration}-{cell.split}"


def train_checkpoint(run: CellRun, spec: TrainingSpec) -> tuple[pl.DataFrame, Path | None]:
    """Fine-tune the base model in a child process, unless the same was trained before. Returns the
    row of `checkpoints` that describes the published directory, and the directory in the warehouse
    whose files were taken over, if there is one.
    """
    models = run.models
    final, aside = checkpoint_directory(models, run.name, run.cell), spec.output
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    for left in aside.parent.glob(f"{aside.name}.*/"):  # by trainings of this cell
        if left != spec.saved:
            shutil.rmtree(left)
    before = find_training(models.directory / CHECKPOINTS, spec.digests, final)
    if before is not None:
        source, training = before
        result = TrainingResult.model_validate(training.result)
        sha256 = reuse_checkpoint(source, aside, final, training)
    else:
        source, result = None, train_in_child(run, spec)
        sha256 = publish(aside, final, TrainingRecord(spec.digest, result.model_dump()))
        shutil.rmtree(spec.saved, ignore_errors=True)
    row = {
        "iteration": run.cell.iteration,
        "split": run.cell.split,
        "path": str(final.relative_to(models.directory)),
        "sha256": sha256,
        **result.model_dump(),
    }
    taken = None if source is None else source.relative_to(models.directory)
    return table_rows("checkpoints", [row]), taken


def train_in_child(run: CellRun, spec: TrainingSpec) -> TrainingResult:
    """Free the models' memory, and train. Raises TrainingError."""
    models = run.models
    models.close()
    spec_file = spec.output.with_suffix(".json")
    spec_file.write_text(spec.model_dump_json())
    examples = len(spec.dialogues) + len(spec.preferences)
    models.on_progress("training, examples", 0, examples)
    started = time.monotonic()
    result = run_program(run.context, run.context.resources.pipes, spec_file)
    models.usage.training_seconds += time.monotonic() - started
    models.on_progress("training, examples", examples, examples)
    spec_file.unlink()
    return result


def run_program(
    context: dg.AssetExecutionContext, pipes: dg.PipesSubprocessClient, spec_file: Path
) -> TrainingResult:
    """Run the training program. Raises TrainingError with what it says is wrong, from the trace
    that it sent.
    """
    command = [sys.executable, "-W", "ignore", "-m", "stargate_assets.training", str(spec_file)]
    try:
        (report,) = pipes.run(context=context, command=command).get_custom_messages()
    except DagsterPipesExecutionError as error:
        raise TrainingError(
            f"The training program ended without a result ({error}); the machine may have run out "
            "of memory: lower training.device_batch_size, or state gradient_checkpointing in "
            "machine.yaml."
        ) from error
    if "error" in report:
        raise TrainingError(report["error"]) from _trace(report)
    return TrainingResult.model_validate(report["result"])


def _trace(report: Mapping[str, str]) -> Exception | None:
    return RuntimeError(report["trace"]) if report.get("trace") else None
