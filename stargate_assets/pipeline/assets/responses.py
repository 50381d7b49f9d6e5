"""The responses that are compared: who asked and who answered, in every arm of a cell."""

from collections.abc import Iterator

import dagster as dg
import polars as pl

from stargate_assets.config.experiment import Experiment
from stargate_assets.method.arms import BASE, arms_of
from stargate_assets.models.pool import engine_kind
from stargate_assets.pipeline.assets.cell_run import CellRun
from stargate_assets.pipeline.assets.grid import cell_asset
from stargate_assets.pipeline.assets.rows import conversations_from_rows, response_rows
from stargate_assets.pipeline.assets.steps import respond_cell


def responses_asset(name: str, experiment: Experiment) -> dg.AssetsDefinition:
    """The responses on the grid."""

    @cell_asset(
        name,
        experiment,
        "Greedy answers to each task in every arm: policy i and the base model, after a "
        "conversation of either, or of nobody.",
        engines=(engine_kind(experiment.questioner),),
    )
    def responses(run: CellRun) -> Iterator[dg.Output[pl.DataFrame]]:
        conversations = {run.cell.iteration: run.conversations}
        answerers = {BASE: run.model("respondent")}
        if run.cell.iteration != BASE:
            base = run.reference_rows("conversations")
            conversations[BASE] = conversations_from_rows(base, run.pairs)
            answerers[run.cell.iteration] = run.policy_model("respondent")
        said = respond_cell(experiment, run.cell, run.pairs, answerers, conversations)
        rows = response_rows(run.cell, said)
        yield run.output(rows, response_metadata(rows, run.cell.iteration))

    return responses


def response_metadata(rows: pl.DataFrame, iteration: int) -> dict[str, float]:
    """Mean words of each arm, and how many responses were cut off, refused or empty."""
    lengths = {
        arm: rows.filter(pl.col("arm") == arm)["text"].str.count_matches(r"\S+")
        for arm in arms_of(iteration)
    }
    return {
        "truncated": int(rows["truncated"].sum()),
        "refused": int(rows["refused"].sum()),
        "empty": int((~rows["refused"] & ~rows["text"].str.contains(r"\S")).sum()),
        **{f"mean words, {arm}": float(of.mean()) for arm, of in lengths.items() if len(of)},  # pyright: ignore[reportArgumentType]
    }
