"""The responses that are compared, of who asked and who answered in every arm of a cell; and what
they make of what was said.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

import dagster as dg
import polars as pl

from stargate_assets.config.experiment import Experiment
from stargate_assets.method.arms import BASE, Response, arms_of
from stargate_assets.method.conversation import Conversation
from stargate_assets.method.heard import Untraced, untraced
from stargate_assets.models.pool import engine_kind
from stargate_assets.pipeline.assets.cell_run import CellRun
from stargate_assets.pipeline.assets.grid import cell_asset
from stargate_assets.pipeline.assets.rows import (
    conversations_from_rows,
    heard_rows,
    response_rows,
    responses_from_rows,
)
from stargate_assets.pipeline.assets.steps import respond_cell, trace_cell

Output = Iterator[dg.Output[pl.DataFrame]]


def response_assets(name: str, experiment: Experiment) -> list[dg.AssetsDefinition]:
    """responses and heard_statements on the grid."""
    engines = (engine_kind(experiment.questioner),)

    @cell_asset(
        name,
        experiment,
        "Greedy answers to each task in every arm: policy i and the base model, after a "
        "conversation of either, or of nobody.",
        engines=engines,
    )
    def responses(run: CellRun) -> Output:
        answerers = {BASE: run.model("respondent")}
        if run.cell.iteration != BASE:
            answerers[run.cell.iteration] = run.policy_model("respondent")
        conversations = conversations_by_asker(run)
        said = respond_cell(experiment, run.cell, run.pairs, answerers, conversations)
        rows = response_rows(run.cell, said)
        yield run.output(rows, response_metadata(rows, run.cell.iteration))

    @cell_asset(
        name,
        experiment,
        "What each response makes of each statement that the person had made: whether it has a "
        "word or number of it, and how much less probable it is without it.",
        engines=engines,
    )
    def heard_statements(run: CellRun) -> Output:
        said = responses_from_rows(run.rows("responses"), run.pairs)
        conversations, scorer = conversations_by_asker(run), run.model("scorer")
        traced = trace_cell(experiment, run.cell, run.pairs, said, conversations, scorer)
        rows = heard_rows(run.cell, traced)
        yield run.output(rows, heard_metadata(rows, said))

    return [responses, heard_statements]


def conversations_by_asker(run: CellRun) -> dict[int, list[Conversation]]:
    """The conversations that a cell's responses follow: its own, and the base model's."""
    conversations = {run.cell.iteration: run.conversations}
    if run.cell.iteration != BASE:
        base = run.reference_rows("conversations")
        conversations[BASE] = conversations_from_rows(base, run.pairs)
    return conversations


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


def heard_metadata(rows: pl.DataFrame, responses: Sequence[Response]) -> dict[str, float]:
    """How many responses have no statement to use, by reason, and how many statements have no word
    of their own; of the others the share that is used, and the mean drop in nats.
    """
    heard = set(rows.select("arm", "task_id", "persona_id").iter_rows())
    reasons = Counter(untraced(r, stated=(r.arm, *r.pair.key) in heard) for r in responses)
    drop = rows["log_prob"] - rows["log_prob_without"]
    means = {"used": rows["used"].cast(pl.Float64), "drop, nats": drop}
    return {
        **{f"responses without a statement: {reason}": reasons[reason] for reason in Untraced},
        "statements without terms of their own": rows["used"].null_count(),
        **{f"mean {name}": float(of.mean()) for name, of in means.items() if of.count()},  # pyright: ignore[reportArgumentType]
    }
