"""Run the training program for a cell and publish what it made."""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import dagster as dg
import polars as pl

from stargate_assets.assets.frames import table
from stargate_assets.experiment import Experiment
from stargate_assets.language_model import Message
from stargate_assets.method.conversation import Conversation
from stargate_assets.method.examples import Dialogue
from stargate_assets.method.keys import derive_seed
from stargate_assets.method.prompts import questioner_messages, respondent_messages
from stargate_assets.method.simulation import Cell
from stargate_assets.model_pool import ModelPool
from stargate_assets.storage.checkpoints import publish
from stargate_assets.training.spec import TrainingError, TrainingResult, TrainingSpec, encoded


def training_dialogues(
    conversations: Sequence[Conversation], responses: pl.DataFrame
) -> list[Dialogue]:
    """For each conversation its question turns, and its answer turn unless that was cut off or is
    empty.
    """
    columns = ("task_id", "persona_id", "sample", "text", "truncated")
    answer_of = {
        (task, persona, sample): None if truncated or not text else text
        for task, persona, sample, text, truncated in responses.select(columns).iter_rows()
    }
    dialogues: list[Dialogue] = []
    for c in conversations:
        asked = questioner_messages(c)[:-1]  # the last reply is followed by no question
        dialogues.append(Dialogue("question", asked))
        answer = answer_of[c.pair.task.task_id, c.pair.persona.persona_id, c.sample]
        if answer is not None:
            answered = (*respondent_messages(c), Message("assistant", answer))
            dialogues.append(Dialogue("answer", answered))
    return dialogues


def train_checkpoint(
    context: dg.AssetExecutionContext,
    models: ModelPool,
    pipes: dg.PipesSubprocessClient,
    name: str,
    experiment: Experiment,
    cell: Cell,
    conversations: Sequence[Conversation],
    responses: pl.DataFrame,
) -> pl.DataFrame:
    """Fine-tune the base model in a child process; the row of `checkpoints` that describes the
    published directory.
    """
    directory = models.warehouse / "checkpoints" / name
    final = directory / f"{cell.iteration}-{cell.split}"
    aside = directory / f".{final.name}.partial"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    model = models.path(experiment.questioner)
    device, dtype = models.device(), models.dtype(experiment.questioner)
    models.close()
    spec = TrainingSpec(
        model=model,
        revision=experiment.questioner.revision,
        device=device,
        bf16=dtype == "bfloat16",
        seed=derive_seed(experiment.seed, "training", cell.iteration, cell.split),
        training=experiment.training,
        dialogues=encoded(training_dialogues(conversations, responses)),
        output=aside,
    )
    spec_file = directory / f".{final.name}.json"
    spec_file.write_text(spec.model_dump_json())
    result = _run(context, pipes, spec_file)
    sha256 = publish(aside, final)
    spec_file.unlink()
    return table(
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


def _run(
    context: dg.AssetExecutionContext, pipes: dg.PipesSubprocessClient, spec_file: Path
) -> TrainingResult:
    command = [sys.executable, "-m", "stargate_assets.training", str(spec_file)]
    (report,) = pipes.run(context=context, command=command).get_custom_messages()
    if "error" in report:
        raise TrainingError(report["error"])
    return TrainingResult.model_validate(report["result"])
