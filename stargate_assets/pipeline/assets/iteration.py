"""Simulate, score and select: the first half of an iteration (Algorithm 1, lines 3 and 4)."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import cast

import dagster as dg
import polars as pl

from stargate_assets.config.experiment import Experiment, Roleplayer, Selection
from stargate_assets.method.conversation import Conversation, Pair
from stargate_assets.method.language_model import LanguageModel, Sampling
from stargate_assets.method.roleplay import Reply, choose_replies, generate_replies
from stargate_assets.method.scoring import (
    COMPARED_WITH,
    CONTROLS,
    Condition,
    GoldLogProb,
    score_gold_responses,
)
from stargate_assets.method.selection import Candidate, select_best, value_of
from stargate_assets.method.simulation import Cell, simulate, unasked_conversations
from stargate_assets.method.text import words
from stargate_assets.models.pool import ModelPool
from stargate_assets.pipeline.assets.frames import (
    conversations_frame,
    conversations_of,
    gold_log_probs_frame,
    gold_texts,
    pairs_of,
    row_key,
    table,
)
from stargate_assets.pipeline.assets.grid import (
    BASE_POLICY,
    GPU_POOL,
    cell_of,
    grid_asset,
    grid_output,
    inputs,
    policy_checkpoint,
    report_policy,
    shown,
)
from stargate_assets.reporting.figures import score_distributions, turns_and_lengths
from stargate_assets.storage.completions import Use
from stargate_assets.storage.warehouse import Warehouse


def roleplayer_reply(roleplayer: Roleplayer, model: LanguageModel) -> Reply:
    """A Roleplayer as the simulation wants it."""
    if roleplayer.replies == "chosen":
        return partial(choose_replies, model)
    sampling = Sampling(roleplayer.answer_tokens, roleplayer.temperature)
    return partial(generate_replies, model, sampling)


def simulated(
    experiment: Experiment,
    cell: Cell,
    pairs: Sequence[Pair],
    questioner: LanguageModel,
    roleplayers: Mapping[str, LanguageModel],
) -> list[Conversation]:
    """The conversations of a cell, as the experiment wants them; its roleplayers by label."""
    stated, samples = experiment.simulation, experiment.samples(cell.split)
    answering = experiment.roleplayers_of(cell.split)
    conversations = simulate(
        questioner,
        {r.label: roleplayer_reply(r, roleplayers[r.label]) for r in answering},
        pairs,
        cell,
        seed=experiment.seed,
        samples=samples,
        max_turns=stated.max_turns,
        sampling=Sampling(stated.question_tokens, stated.temperature, stated.top_p),
    )
    return conversations + unasked_conversations(pairs, samples, experiment.unasked(cell.split))


def scored_conversations(conversations: pl.DataFrame, gold_log_probs: pl.DataFrame) -> pl.DataFrame:
    """The conversations of a cell that were scored, with the log_prob of their gold response."""
    own = gold_log_probs.filter(pl.col("condition") == Condition.EXPERIMENTAL)
    return own.join(conversations, on=["task_id", "persona_id", "sample"])


def best_of(
    cell: Cell, stated: Selection, scored: pl.DataFrame, gold_log_probs: pl.DataFrame
) -> pl.DataFrame:
    """The rows of best_conversations. `scored` are the cell's `scored_conversations`;
    `gold_log_probs` holds what an objective compares their scores with.
    """
    compared = COMPARED_WITH.get(stated.objective)
    if compared is not None:
        key = ["task_id", "persona_id", *([] if compared in CONTROLS else ["sample"])]
        against = gold_log_probs.filter(condition=compared)
        scored = scored.join(
            against.select(*key, pl.col("log_prob").alias("compared_with")), on=key
        )
    candidates: dict[Candidate, float] = {}
    for row in scored.iter_rows(named=True):
        asked = row["questions"]
        value = value_of(
            stated.objective,
            row["log_prob"],
            row["tokens"],
            compared_with=0.0 if compared is None else row["compared_with"],
            cost=stated.question_cost * len(asked)
            + stated.word_cost * sum(len(words(question)) for question in asked),
        )
        candidate = Candidate(
            row["task_id"], row["persona_id"], row["sample"], value, row["ineligibility"] is None
        )
        candidates[candidate] = row["log_prob"]
    best = select_best(candidates, stated.top, stated.margin, absolute=compared is not None)
    rows = [
        {
            **row_key(cell, chosen.task_id, chosen.persona_id, chosen.sample),
            "rank": rank,
            "value": chosen.value,
            "log_prob": candidates[chosen],
        }
        for rank, chosen in best
    ]
    return table("best_conversations", rows)


def selected(
    experiment: Experiment,
    cell: Cell,
    conversations: Sequence[Conversation],
    scores: Sequence[GoldLogProb],
) -> list[Conversation]:
    """The conversations of a cell that are learnt from at most: whatever the margin leaves out."""
    stated = experiment.selection.model_copy(update={"margin": None})
    gold_log_probs = gold_log_probs_frame(cell, scores)
    talked = conversations_frame(cell, BASE_POLICY, conversations)
    best = best_of(cell, stated, scored_conversations(talked, gold_log_probs), gold_log_probs)
    kept = set(best.select("task_id", "persona_id", "sample").iter_rows())
    return [c for c in conversations if (*c.pair.key, c.sample) in kept]


def means(log_probs: Mapping[str, pl.Series]) -> dict[str, float]:
    """Metadata of those that are not empty."""
    return {
        f"mean log_prob, {label}": float(cast("float", values.mean()))
        for label, values in sorted(log_probs.items())
        if len(values)
    }


def iteration_assets(name: str, experiment: Experiment) -> list[dg.AssetsDefinition]:
    """conversations, gold_log_probs and best_conversations on the grid."""
    data_set, asset = experiment.data_set, grid_asset(name, experiment)

    @asset(
        "conversations",
        {"transformers"},
        "Policy i asks, the Roleplayer answers: N conversations for each task and persona "
        "(Algorithm 1, line 3).",
        ins=inputs(data_set, "tasks", "personas"),
        deps=[dg.AssetKey([name, "policy"])],
        pool=GPU_POOL,
    )
    def conversations(
        context: dg.AssetExecutionContext,
        warehouse: dg.ResourceParam[Warehouse],
        models: dg.ResourceParam[ModelPool],
        tasks: pl.DataFrame,
        personas: pl.DataFrame,
    ) -> dg.Output[pl.DataFrame]:
        cell = cell_of(context.partition_key)
        policy = policy_checkpoint(warehouse, name, cell)
        if policy is None:
            report_policy(context, name, 0, BASE_POLICY)
        answering = Use(name, cell.key, "roleplayer")
        made = simulated(
            experiment,
            cell,
            pairs_of(tasks, personas),
            models.open(experiment.questioner, Use(name, cell.key, "questioner"), policy),
            {
                r.label: models.open(r.model, answering)
                for r in experiment.roleplayers_of(cell.split)
            },
        )
        frame = conversations_frame(cell, policy.sha256 if policy else BASE_POLICY, made)
        reasons = Counter(frame["ineligibility"].drop_nulls())
        return grid_output(
            frame,
            warehouse,
            name,
            experiment,
            cell,
            {
                "question_rate": frame["question_rate"].mean(),
                "eligible": frame["ineligibility"].null_count(),
                **{f"ineligible: {reason}": count for reason, count in sorted(reasons.items())},
                **shown(turns_and_lengths(frame)),
            },
        )

    @asset(
        "gold_log_probs",
        {"transformers"},
        "log p(gold response) under the base model, in nats: on test in four conditions (section "
        "5), elsewhere after each eligible conversation (Algorithm 1, line 4).",
        ins=inputs(data_set, "tasks", "personas", "gold_responses") | inputs(name, "conversations"),
        pool=GPU_POOL,
    )
    def gold_log_probs(
        context: dg.AssetExecutionContext,
        warehouse: dg.ResourceParam[Warehouse],
        models: dg.ResourceParam[ModelPool],
        tasks: pl.DataFrame,
        personas: pl.DataFrame,
        gold_responses: pl.DataFrame,
        conversations: pl.DataFrame,
    ) -> dg.Output[pl.DataFrame]:
        cell = cell_of(context.partition_key)
        frame = gold_log_probs_frame(
            cell,
            score_gold_responses(
                models.open(experiment.questioner, Use(name, cell.key, "scorer")),
                conversations_of(conversations, pairs_of(tasks, personas)),
                gold_texts(gold_responses),
                cell,
                experiment.seed,
                experiment.selection.objective,
            ),
        )
        conditions = {str(key): of["log_prob"] for (key,), of in frame.group_by("condition")}
        excluded = gold_responses["exclusion"].count()
        metadata = {"pairs without a gold response": excluded, **means(conditions)}
        return grid_output(frame, warehouse, name, experiment, cell, metadata)

    @asset(
        "best_conversations",
        set(),
        "The k eligible conversations of each pair after which the gold response is most "
        "probable (Algorithm 1, line 4).",
        ins=inputs(name, "conversations", "gold_log_probs"),
    )
    def best_conversations(
        context: dg.AssetExecutionContext,
        warehouse: dg.ResourceParam[Warehouse],
        conversations: pl.DataFrame,
        gold_log_probs: pl.DataFrame,
    ) -> dg.Output[pl.DataFrame]:
        cell = cell_of(context.partition_key)
        scored = scored_conversations(conversations, gold_log_probs)
        frame = best_of(cell, experiment.selection, scored, gold_log_probs)
        pairs = conversations.select("task_id", "persona_id").n_unique()
        return grid_output(
            frame,
            warehouse,
            name,
            experiment,
            cell,
            {
                "pairs": pairs,
                "pairs without a selected conversation": pairs
                - frame.select("task_id", "persona_id").n_unique(),
                **means({"scored": scored["log_prob"], "selected": frame["log_prob"]}),
                **shown(score_distributions(gold_log_probs, frame)),
            },
        )

    return [conversations, gold_log_probs, best_conversations]
