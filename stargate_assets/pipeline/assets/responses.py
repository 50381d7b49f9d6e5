"""The responses that are compared: who asked and who answered, in every arm of a cell."""

from collections.abc import Mapping, Sequence

import dagster as dg
import polars as pl

from stargate_assets.config.experiment import Experiment
from stargate_assets.method.arms import BASE, Arm, Response, arms_of, respond
from stargate_assets.method.conversation import Conversation, Pair
from stargate_assets.method.language_model import LanguageModel, Sampling
from stargate_assets.method.simulation import Cell
from stargate_assets.models.pool import ModelPool
from stargate_assets.pipeline.assets.frames import conversations_of, pairs_of, row_key, table
from stargate_assets.pipeline.assets.grid import (
    GPU_POOL,
    cell_of,
    grid_asset,
    grid_output,
    inputs,
    policy_checkpoint,
    reference_table,
)
from stargate_assets.storage.completions import Use
from stargate_assets.storage.warehouse import Warehouse


def responses_asset(name: str, experiment: Experiment) -> dg.AssetsDefinition:
    """The responses on the grid."""
    data_set, asset = experiment.data_set, grid_asset(name, experiment)

    @asset(
        "responses",
        {"transformers"},
        "Greedy answers to each task in every arm: policy i and the base model, after a "
        "conversation of either, or of nobody.",
        ins=inputs(data_set, "tasks", "personas") | inputs(name, "conversations"),
        pool=GPU_POOL,
    )
    def responses(
        context: dg.AssetExecutionContext,
        warehouse: dg.ResourceParam[Warehouse],
        models: dg.ResourceParam[ModelPool],
        tasks: pl.DataFrame,
        personas: pl.DataFrame,
        conversations: pl.DataFrame,
    ) -> dg.Output[pl.DataFrame]:
        cell, pairs = cell_of(context.partition_key), pairs_of(tasks, personas)
        talked = {cell.iteration: conversations_of(conversations, pairs)}
        if cell.iteration != BASE:
            base = reference_table(warehouse, name, "conversations", cell)
            talked[BASE] = conversations_of(base, pairs)
        policy = policy_checkpoint(warehouse, name, cell)
        spec, use = experiment.questioner, Use(name, cell.key, "respondent")
        answerers = {BASE: models.open(spec, use), cell.iteration: models.open(spec, use, policy)}
        said = responded(experiment, cell, pairs, answerers, talked)
        rows = [
            {
                **row_key(cell, *r.pair.key, r.sample),
                "arm": r.arm,
                "asker": r.players.asker,
                "answerer": r.players.answerer,
                "turns": r.turns,
                "text": r.text,
                "truncated": r.truncated,
                "refused": r.refused,
            }
            for r in said
        ]
        frame = table("responses", rows)
        return grid_output(frame, warehouse, name, experiment, cell, _counts(frame, cell.iteration))

    return responses


def responded(
    experiment: Experiment,
    cell: Cell,
    pairs: Sequence[Pair],
    answerers: Mapping[int, LanguageModel],
    conversations: Mapping[int, Sequence[Conversation]],
) -> list[Response]:
    """The responses of a cell, as the experiment wants them; the rest is by the policy's index."""
    stated = experiment.evaluation
    return respond(
        answerers,
        conversations,
        pairs,
        cell,
        seed=experiment.seed,
        sampling=Sampling(stated.answer_tokens),
        wanted=stated.arms,
    )


def _counts(frame: pl.DataFrame, iteration: int) -> dict[str, float]:
    """Metadata: mean words of each arm, and what was cut off, refused or empty."""
    lengths: dict[Arm, pl.Series] = {
        arm: frame.filter(pl.col("arm") == arm)["text"].str.count_matches(r"\S+")
        for arm in arms_of(iteration)
    }
    return {
        "truncated": int(frame["truncated"].sum()),
        "refused": int(frame["refused"].sum()),
        "empty": int((~frame["refused"] & ~frame["text"].str.contains(r"\S")).sum()),
        **{f"mean words, {arm}": float(of.mean()) for arm, of in lengths.items() if len(of)},  # pyright: ignore
    }
