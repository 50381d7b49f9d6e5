"""The assets of one iteration, in the order of Algorithm 1: simulate, score, select, answer,
train.
"""

from collections import Counter
from functools import partial
from typing import Any

import dagster as dg
import polars as pl

from stargate_assets.assets.frames import (
    conversations_frame,
    conversations_of,
    gold_log_probs_frame,
    gold_texts,
    pairs_of,
    row_key,
    table,
)
from stargate_assets.assets.grid import (
    BASE_POLICY,
    CODE_VERSION,
    GPU_POOL,
    OWNERS,
    AssetDecorator,
    cell_of,
    column_schema,
    grid_output,
    grid_partitions,
    policy_checkpoint,
)
from stargate_assets.assets.training import train_checkpoint
from stargate_assets.experiment import Experiment
from stargate_assets.language_model import ChatRequest, Sampling
from stargate_assets.method.plan import TEST_SPLIT, is_training_cell
from stargate_assets.method.prompts import respondent_messages
from stargate_assets.method.roleplay import Reply, choose_replies, generate_replies
from stargate_assets.method.scoring import Condition, score_gold_responses
from stargate_assets.method.selection import Candidate, select_best
from stargate_assets.method.simulation import simulate
from stargate_assets.model_pool import ModelPool
from stargate_assets.storage.warehouse import Warehouse


def roleplayer_reply(experiment: Experiment, models: ModelPool) -> Reply:
    """The experiment's Roleplayer as the simulation wants it."""
    roleplayer = experiment.roleplayer
    model = models.open(roleplayer.model)
    if roleplayer.replies == "chosen":
        return partial(choose_replies, model)
    sampling = Sampling(roleplayer.answer_tokens, roleplayer.temperature)
    return partial(generate_replies, model, sampling)


def iteration_assets(name: str, experiment: Experiment) -> list[dg.AssetsDefinition]:
    """conversations, gold_log_probs, best_conversations, regularization_responses and checkpoints
    on the grid.
    """
    data_set = experiment.data_set

    def asset(table_name: str, kinds: set[str], description: str, **more: Any) -> AssetDecorator:
        return dg.asset(
            name=table_name,
            key_prefix=name,
            partitions_def=grid_partitions(experiment),
            group_name=name,
            kinds={"duckdb", *kinds},
            owners=OWNERS,
            code_version=f"{CODE_VERSION}-{experiment.digest()}",
            description=description,
            metadata={"dagster/column_schema": column_schema(table_name)},
            **more,
        )

    tasks_in = dg.AssetIn(key=[data_set, "tasks"])
    personas_in = dg.AssetIn(key=[data_set, "personas"])

    def own(table_name: str) -> dg.AssetIn:
        return dg.AssetIn(key=[name, table_name])

    @asset(
        "conversations",
        {"transformers"},
        "Policy i asks, the Roleplayer answers: N conversations for each task and persona "
        "(Algorithm 1, line 3).",
        ins={"tasks": tasks_in, "personas": personas_in},
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
        simulation = experiment.simulation
        simulated = simulate(
            models.open(experiment.questioner, policy),
            roleplayer_reply(experiment, models),
            pairs_of(tasks, personas),
            cell,
            seed=experiment.seed,
            samples=experiment.samples(cell.split),
            max_turns=simulation.max_turns,
            sampling=Sampling(simulation.question_tokens, simulation.temperature, simulation.top_p),
        )
        frame = conversations_frame(cell, policy.sha256 if policy else BASE_POLICY, simulated)
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
            },
        )

    @asset(
        "gold_log_probs",
        {"transformers"},
        "log p(gold response) under the base model in four conditions, in nats (Algorithm 1, "
        "line 4; section 5).",
        ins={
            "tasks": tasks_in,
            "personas": personas_in,
            "gold_responses": dg.AssetIn(key=[data_set, "gold_responses"]),
            "conversations": own("conversations"),
        },
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
                models.open(experiment.questioner),
                conversations_of(conversations, pairs_of(tasks, personas)),
                gold_texts(gold_responses),
                cell,
                experiment.seed,
            ),
        )
        means = frame.group_by("condition").agg(pl.col("log_prob").mean())
        return grid_output(
            frame, warehouse, name, experiment, cell, dict(means.sort("condition").iter_rows())
        )

    @asset(
        "best_conversations",
        set(),
        "The k eligible conversations of each pair after which the gold response is most "
        "probable (Algorithm 1, line 4).",
        ins={"conversations": own("conversations"), "gold_log_probs": own("gold_log_probs")},
    )
    def best_conversations(
        context: dg.AssetExecutionContext,
        warehouse: dg.ResourceParam[Warehouse],
        conversations: pl.DataFrame,
        gold_log_probs: pl.DataFrame,
    ) -> dg.Output[pl.DataFrame]:
        cell = cell_of(context.partition_key)
        scored = gold_log_probs.filter(pl.col("condition") == Condition.EXPERIMENTAL).join(
            conversations, on=["task_id", "persona_id", "sample"]
        )
        best = select_best(
            (
                Candidate(*row, eligible=reason is None)
                for *row, reason in scored.select(
                    "task_id", "persona_id", "sample", "log_prob", "ineligibility"
                ).iter_rows()
            ),
            experiment.selection.top,
        )
        rows = [
            {
                **row_key(cell, chosen.task_id, chosen.persona_id, chosen.sample),
                "rank": rank,
                "log_prob": chosen.log_prob,
            }
            for rank, chosen in best
        ]
        frame = table("best_conversations", rows)
        pairs = conversations.select("task_id", "persona_id").n_unique()
        return grid_output(
            frame,
            warehouse,
            name,
            experiment,
            cell,
            {
                "pairs": pairs,
                "pairs without an eligible conversation": pairs
                - frame.select("task_id", "persona_id").n_unique(),
                "mean log_prob of all": scored["log_prob"].mean(),
                "mean log_prob of selected": frame["log_prob"].mean() or 0.0,
            },
        )

    @asset(
        "regularization_responses",
        {"transformers"},
        "Policy i's own greedy answer on each best conversation, so that training keeps it able "
        "to answer (line 5).",
        ins={
            "tasks": tasks_in,
            "personas": personas_in,
            "conversations": own("conversations"),
            "best_conversations": own("best_conversations"),
        },
        pool=GPU_POOL,
    )
    def regularization_responses(
        context: dg.AssetExecutionContext,
        warehouse: dg.ResourceParam[Warehouse],
        models: dg.ResourceParam[ModelPool],
        tasks: pl.DataFrame,
        personas: pl.DataFrame,
        conversations: pl.DataFrame,
        best_conversations: pl.DataFrame,
    ) -> dg.Output[pl.DataFrame]:
        cell = cell_of(context.partition_key)
        best = selected_conversations(tasks, personas, conversations, best_conversations)
        policy = models.open(experiment.questioner, policy_checkpoint(warehouse, name, cell))
        sampling = Sampling(experiment.regularization.answer_tokens)
        answers = policy.chat(
            [ChatRequest(respondent_messages(c), sampling) for c in best], "answering tasks"
        )
        rows = [
            {
                **row_key(cell, c.pair.task.task_id, c.pair.persona.persona_id, c.sample),
                "text": answer.text,
                "truncated": answer.finish_reason == "length",
            }
            for c, answer in zip(best, answers, strict=True)
        ]
        frame = table("regularization_responses", rows)
        metadata = {"truncated": int(frame["truncated"].sum())}
        return grid_output(frame, warehouse, name, experiment, cell, metadata)

    @asset(
        "checkpoints",
        {"transformers", "peft"},
        "The base model fine-tuned on questions and own answers (line 6). In cell (i, s(i)) it "
        "is policy i + 1.",
        ins={
            "tasks": tasks_in,
            "personas": personas_in,
            "conversations": own("conversations"),
            "best_conversations": own("best_conversations"),
            "regularization_responses": own("regularization_responses"),
        },
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
        best = selected_conversations(tasks, personas, conversations, best_conversations)
        frame = train_checkpoint(
            context, models, pipes, name, experiment, cell, best, regularization_responses
        )
        row = frame.row(0, named=True)
        yield grid_output(
            frame, warehouse, name, experiment, cell, {k: row[k] for k in ("steps", "last_loss")}
        )
        if is_training_cell(cell):
            context.log_event(
                dg.AssetMaterialization(
                    asset_key=[name, "policy"],
                    partition=str(cell.iteration + 1),
                    description=f"Trained in cell {cell.key}: {row['path']}",
                    tags={"dagster/data_version": row["sha256"]},
                )
            )

    return [
        conversations,
        gold_log_probs,
        best_conversations,
        regularization_responses,
        checkpoints,
    ]


def selected_conversations(
    tasks: pl.DataFrame,
    personas: pl.DataFrame,
    conversations: pl.DataFrame,
    best_conversations: pl.DataFrame,
):
    """The best conversations with their transcripts, ordered by pair and sample."""
    key = ["task_id", "persona_id", "sample"]
    chosen = conversations.join(best_conversations.select(key), on=key, how="semi")
    return conversations_of(chosen, pairs_of(tasks, personas))
