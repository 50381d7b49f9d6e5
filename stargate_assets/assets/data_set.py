"""The assets of a data set: tasks, personas and gold responses, partitioned by split and shared by
experiments.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import dagster as dg
import polars as pl

from stargate_assets.assets.frames import pairs_of, table
from stargate_assets.assets.grid import (
    GPU_POOL,
    OWNERS,
    AssetDecorator,
    column_schema,
    inputs,
    split_partitions,
    table_output,
)
from stargate_assets.data_set import DataError, DataSet, Oracle, PersonaWriter
from stargate_assets.figures import lengths_and_domains
from stargate_assets.language_model import Sampling
from stargate_assets.method.conversation import Pair
from stargate_assets.method.gold_responses import write_gold_responses
from stargate_assets.method.personas import GeneratedPersonas, generate_personas
from stargate_assets.model_pool import ModelPool
from stargate_assets.sources.tables import GENERATED, Read, Tables, content_version


def data_set_assets(name: str, data_set: DataSet, read: Read) -> list[dg.AssetsDefinition]:
    """tasks[s] and personas[s]; gold_responses[s] too if the data set has recorded ones or an
    Oracle.
    """
    version = content_version(data_set)

    def asset(table_name: str, description: str, **more: Any) -> AssetDecorator:
        return dg.asset(
            name=table_name,
            key_prefix=name,
            partitions_def=split_partitions,
            group_name=name,
            owners=OWNERS,
            code_version=version,
            description=description,
            metadata={"dagster/column_schema": column_schema(table_name)},
            **more,
        )

    def output(rows: pl.DataFrame, metadata: Mapping[str, Any]) -> dg.Output[pl.DataFrame]:
        words = rows["text"].str.count_matches(r"\S+").mean()
        figure = {"lengths and domains": dg.MetadataValue.md(lengths_and_domains(rows))}
        return table_output(
            rows, version, {"mean_words": words or 0.0, **metadata, **(figure if len(rows) else {})}
        )

    @asset(
        "tasks",
        "What users ask for: short, everyday, and underspecified on purpose.",
        kinds={"duckdb"},
    )
    def tasks(context: dg.AssetExecutionContext) -> dg.Output[pl.DataFrame]:
        rows = read().tasks
        return output(rows.of(context.partition_key), left_out(rows.left_out))

    people = "Who asks: a name and first-person statements that the questioner never sees."
    if data_set.persona_writer is None:

        @asset("personas", people, kinds={"duckdb"})
        def personas(context: dg.AssetExecutionContext) -> dg.Output[pl.DataFrame]:
            rows = read().personas
            assert rows is not None
            return output(rows.of(context.partition_key), left_out(rows.left_out))

    else:
        writer = data_set.persona_writer

        @asset(
            "personas",
            f"{people} Written by a model.",
            kinds={"duckdb", writer.model.engine},
            pool=GPU_POOL,
        )
        def personas(
            context: dg.AssetExecutionContext, models: dg.ResourceParam[ModelPool]
        ) -> dg.Output[pl.DataFrame]:
            written = written_personas(writer, read(), data_set.seed, models)
            frame, reasons = persona_rows(written, context.partition_key)
            if frame.is_empty():
                raise DataError(
                    f"{writer.model.model} wrote no usable persona for {context.partition_key} of "
                    f"{name} ({reasons}); raise attempts, or use another model or temperature."
                )
            asked = writer.sizes.model_dump()[context.partition_key]
            missing = {"personas not written": asked - frame.height}
            return output(frame, missing | {f"refused: {r}": n for r, n in reasons.items()})

    assets = [tasks, personas]
    if data_set.has_gold_responses:
        oracle = data_set.oracle

        @asset(
            "gold_responses",
            "The best answer to each task for each persona of the split: recorded, or written by "
            "the Oracle.",
            ins=inputs(name, "tasks", "personas"),
            kinds={"duckdb", oracle.model.engine} if oracle else {"duckdb"},
            pool=GPU_POOL if oracle else None,
        )
        def gold_responses(
            context: dg.AssetExecutionContext,
            models: dg.ResourceParam[ModelPool],
            tasks: pl.DataFrame,
            personas: pl.DataFrame,
        ) -> dg.Output[pl.DataFrame]:
            recorded, split = read().gold_responses, context.partition_key
            frame = recorded.of(split) if recorded else table("gold_responses", [])
            if oracle is not None:
                there = set(frame.select("task_id", "persona_id").iter_rows())
                missing = [p for p in pairs_of(tasks, personas) if p.key not in there]
                frame = pl.concat([frame, written_gold(oracle, missing, split, models)])
            excluded = Counter(frame["exclusion"].drop_nulls())
            counts = {f"excluded: {reason}": n for reason, n in sorted(excluded.items())}
            return output(frame, counts | left_out(recorded.left_out if recorded else {}))

        assets.append(gold_responses)
    return assets


def left_out(reasons: Mapping[str, int]) -> dict[str, int]:
    """Metadata: how many rows of the source are in no split, by reason."""
    return {f"left out: {reason}": count for reason, count in sorted(reasons.items())}


def written_personas(
    writer: PersonaWriter, read: Tables, seed: int, models: ModelPool
) -> GeneratedPersonas:
    """The personas of all splits; what a model has written once comes from the completion store."""
    return generate_personas(
        models.open(writer.model),
        read.examples,
        read.tasks.frame["text"].to_list(),
        writer.sizes.model_dump(),
        seed=seed,
        attempts=writer.attempts,
        sampling=Sampling(writer.persona_tokens, writer.temperature, writer.top_p),
    )


def persona_rows(written: GeneratedPersonas, split: str) -> tuple[pl.DataFrame, dict[str, int]]:
    """The rows of one split, and how many attempts at it were refused, by reason."""
    rows: list[dict[str, object]] = [
        {
            "split": split,
            "persona_id": persona.persona_id,
            "name": persona.name,
            "text": persona.text,
            "source": GENERATED,
        }
        for persona in sorted(written.personas[split], key=lambda p: p.persona_id)
    ]
    reasons = Counter(str(reason) for of, _, _, reason in written.refusals if of == split)
    return table("personas", rows), dict(sorted(reasons.items()))


def written_gold(oracle: Oracle, pairs: list[Pair], split: str, models: ModelPool) -> pl.DataFrame:
    """Rows of the pairs' gold responses by the Oracle, excluded ones marked."""
    written = write_gold_responses(models.open(oracle.model), pairs, oracle.answer_tokens)
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
    return table("gold_responses", rows)
