"""The assets of a data set: tasks, personas and gold responses, partitioned by split and shared by
experiments.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import dagster as dg
import polars as pl

from stargate_assets.config.data_set import DataError, DataSet, Oracle, PersonaWriter, TaskWriter
from stargate_assets.config.engines import compute_here
from stargate_assets.method.conversation import Pair
from stargate_assets.method.gold_responses import write_gold_responses
from stargate_assets.method.language_model import LanguageModel, Sampling
from stargate_assets.method.personas import generate_personas
from stargate_assets.method.plan import SPLITS
from stargate_assets.method.prompts import Prompts
from stargate_assets.method.splits import draw_splits, split_sizes
from stargate_assets.method.written_tasks import write_tasks
from stargate_assets.models.pool import ModelPool, engine_kind
from stargate_assets.pipeline.assets.grid import GPU_POOL, split_partitions
from stargate_assets.pipeline.assets.outputs import column_schema, table_output
from stargate_assets.pipeline.assets.rows import pairs_from_rows, table_rows
from stargate_assets.pipeline.assets.versions import data_versions
from stargate_assets.pipeline.sources.table import GENERATED
from stargate_assets.pipeline.sources.tables import Read, Tables
from stargate_assets.reporting.figures import lengths_and_domains
from stargate_assets.storage.completions import Use


def data_set_assets(name: str, data_set: DataSet, read: Read) -> list[dg.AssetsDefinition]:
    """tasks[s] and personas[s]; gold_responses[s] too if the data set has recorded ones or an
    Oracle.
    """
    versions = data_versions(data_set)

    def asset(
        table_name: str, description: str, **more: Any
    ) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
        return dg.asset(
            name=table_name,
            key_prefix=name,
            partitions_def=split_partitions,
            group_name=name,
            code_version=versions[table_name],
            description=description,
            metadata={"dagster/column_schema": column_schema(table_name)},
            **more,
        )

    def output(
        table: str, rows: pl.DataFrame, counts: Mapping[str, int]
    ) -> dg.Output[pl.DataFrame]:
        metadata: dict[str, Any] = dict(counts)
        if rows.height:
            metadata["mean_words"] = rows["text"].str.count_matches(r"\S+").mean()
            metadata["lengths and domains"] = dg.MetadataValue.md(
                lengths_and_domains(rows).markdown()
            )
        return table_output(rows, versions[table], metadata)

    task_writer, writer, oracle = data_set.task_writer, data_set.persona_writer, data_set.oracle

    @asset(
        "tasks",
        "What users ask for: short, everyday, and underspecified on purpose.",
        kinds={"duckdb", engine_kind(task_writer.model)} if task_writer else {"duckdb"},
        pool=GPU_POOL if task_writer and compute_here([task_writer.model.engine]) else None,
    )
    def tasks(
        context: dg.AssetExecutionContext, models: dg.ResourceParam[ModelPool]
    ) -> dg.Output[pl.DataFrame]:
        rows, split = read(), context.partition_key
        if task_writer is not None:
            model = models.open(task_writer.model, Use(name, split, "task_writer"))
            frame, counts = write_task_rows(task_writer, rows, data_set, model)
            return output("tasks", frame.filter(split=split), counts)
        return output("tasks", rows.tasks.of(split), count_left_out(rows.tasks.left_out))

    people_writers = [w for w in (writer and task_writer, writer) if w]

    @asset(
        "personas",
        "Who asks: a name and first-person statements that the questioner never sees"
        + (", written by a model." if writer else "."),
        kinds={"duckdb", engine_kind(writer.model)} if writer else {"duckdb"},
        pool=GPU_POOL if compute_here([w.model.engine for w in people_writers]) else None,
        deps=[dg.AssetKey([name, "tasks"])] if task_writer and writer else [],
    )
    def personas(
        context: dg.AssetExecutionContext, models: dg.ResourceParam[ModelPool]
    ) -> dg.Output[pl.DataFrame]:
        rows, split = read(), context.partition_key
        if writer is not None:
            tasks = rows.tasks.frame
            if task_writer is not None:  # of every split, and each is in the store by now
                asked = models.open(task_writer.model, Use(name, split, "task_writer"))
                tasks, _ = write_task_rows(task_writer, rows, data_set, asked)
            model = models.open(writer.model, Use(name, split, "persona_writer"))
            texts = tasks["text"].to_list()
            people = write_persona_rows(writer, rows, texts, data_set, split, model)
            return output("personas", *people)
        assert rows.personas is not None
        return output("personas", rows.personas.of(split), count_left_out(rows.personas.left_out))

    if not data_set.has_gold_responses:
        return [tasks, personas]

    @asset(
        "gold_responses",
        "The best answer to each task for each persona of the split: recorded, or written by the "
        "Oracle.",
        ins={table: dg.AssetIn(key=[name, table]) for table in ("tasks", "personas")},
        kinds={"duckdb", engine_kind(oracle.model)} if oracle else {"duckdb"},
        pool=GPU_POOL if oracle and compute_here([oracle.model.engine]) else None,
    )
    def gold_responses(
        context: dg.AssetExecutionContext,
        models: dg.ResourceParam[ModelPool],
        tasks: pl.DataFrame,
        personas: pl.DataFrame,
    ) -> dg.Output[pl.DataFrame]:
        recorded, split = read().gold_responses, context.partition_key
        frame = recorded.of(split) if recorded else table_rows("gold_responses", [])
        if oracle is not None:
            there = set(frame.select("task_id", "persona_id").iter_rows())
            missing = [pair for pair in pairs_from_rows(tasks, personas) if pair.key not in there]
            model = models.open(oracle.model, Use(name, split, "oracle"))
            frame = pl.concat(
                [frame, write_gold_rows(oracle, data_set.prompts, missing, split, model)]
            )
        excluded = Counter(frame["exclusion"].drop_nulls())
        counts = {f"excluded: {reason}": count for reason, count in sorted(excluded.items())}
        return output(
            "gold_responses",
            frame,
            counts | count_left_out(recorded.left_out if recorded else {}),
        )

    return [tasks, personas, gold_responses]


def count_left_out(reasons: Mapping[str, int]) -> dict[str, int]:
    """Metadata: how many rows of the source are in no split, by reason."""
    return {f"left out: {reason}": count for reason, count in sorted(reasons.items())}


def write_task_rows(
    writer: TaskWriter, read: Tables, data_set: DataSet, model: LanguageModel
) -> tuple[pl.DataFrame, dict[str, int]]:
    """The rows of all splits, drawn as those of a file are, and counts of what is missing and of
    the refusals. What a model has written once comes from the completion store.
    """
    sizes = writer.sizes.model_dump()
    wanted = sum(sizes.values())
    people = [] if read.personas is None else read.personas.frame["name"].drop_nulls().to_list()
    written = write_tasks(
        model,
        read.task_examples,
        writer.domains,
        wanted,
        names=people,
        same=data_set.same_text,
        seed=data_set.seed,
        attempts=writer.attempts,
        sampling=Sampling(writer.answer_tokens, writer.temperature, writer.top_p),
        prompts=data_set.prompts,
    )
    refused = Counter(reason for _, _, reason in written.refusals)
    counts = {f"refused: {reason}": count for reason, count in sorted(refused.items())}
    count = len(written.tasks)
    if count < len(SPLITS):
        raise DataError(
            f"{writer.model.model} wrote {count} usable tasks ({counts}), too few for "
            f"{len(SPLITS)} splits; raise attempts, or use another model or temperature."
        )
    drawn = sizes if count == wanted else split_sizes(count)
    split_of = draw_splits([task.task_id for task in written.tasks], drawn, data_set.seed)
    rows: list[dict[str, object]] = [
        {
            "split": split_of[task.task_id],
            "task_id": task.task_id,
            "text": task.text,
            "domain": task.domain,
            "kind": task.kind,
        }
        for task in sorted(written.tasks, key=lambda task: task.task_id)
    ]
    return table_rows("tasks", rows), {"not written": wanted - count, **counts}


def write_persona_rows(
    writer: PersonaWriter,
    read: Tables,
    tasks: list[str],
    data_set: DataSet,
    split: str,
    model: LanguageModel,
) -> tuple[pl.DataFrame, dict[str, int]]:
    """The rows of a split, and counts of who is missing and of the refusals. All splits are written
    together; what a model has written once comes from the completion store.
    """
    sizes = writer.sizes.model_dump()
    written = generate_personas(
        model,
        read.examples,
        tasks,
        sizes,
        seed=data_set.seed,
        attempts=writer.attempts,
        sampling=Sampling(writer.persona_tokens, writer.temperature, writer.top_p),
        prompts=data_set.prompts,
    )
    people = sorted(written.personas[split], key=lambda persona: persona.persona_id)
    refused = Counter(reason for of, _, _, reason in written.refusals if of == split)
    counts = {f"refused: {reason}": count for reason, count in sorted(refused.items())}
    if not people:
        raise DataError(
            f"{writer.model.model} wrote no usable persona for {split} ({counts}); raise attempts, "
            "or use another model or temperature."
        )
    rows: list[dict[str, object]] = [
        {
            "split": split,
            "persona_id": persona.persona_id,
            "name": persona.name,
            "text": persona.text,
            "source": GENERATED,
        }
        for persona in people
    ]
    return table_rows("personas", rows), {"not written": sizes[split] - len(people), **counts}


def write_gold_rows(
    oracle: Oracle, prompts: Prompts, pairs: list[Pair], split: str, model: LanguageModel
) -> pl.DataFrame:
    """Rows of the pairs' gold responses by the Oracle, excluded ones marked."""
    written = write_gold_responses(model, pairs, oracle.answer_tokens, prompts)
    rows = [
        {
            "split": split,
            "task_id": pair.task.task_id,
            "persona_id": pair.persona.persona_id,
            "text": text,
            "source": GENERATED,
            "exclusion": exclusion,
        }
        for pair, text, exclusion in written
    ]
    return table_rows("gold_responses", rows)
