"""A table from a source: its frame, what its rows need, and which were left out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from stargate_assets.config.data_set import Source
from stargate_assets.pipeline.sources.rows import OPTIONS, Rows
from stargate_assets.storage.schemas import SCHEMAS

NEEDED = {
    "tasks": ("text",),
    "personas": ("name", "text"),
    "gold_responses": ("task", "persona", "text"),
}
"""The fields that a row of each table needs."""
RECORDED, GENERATED = "recorded", "generated"


@dataclass(frozen=True, slots=True)
class Table:
    """All rows of a source, those that are in no split included: their `split` is null."""

    frame: pl.DataFrame
    left_out: Mapping[str, int] = field(default_factory=dict[str, int])

    def of(self, split: str) -> pl.DataFrame:
        return self.frame.filter(pl.col("split") == split)


def make_table(name: str, records: Sequence[Mapping[str, object]], rows: Rows) -> Table:
    """The table of that name, with the counts of its rows that are left out."""
    schema = {column: kind.dtype for column, kind in SCHEMAS[name].columns().items()}
    frame = pl.DataFrame(list(records), schema=schema)
    undrawn = frame["split"].null_count()
    return Table(frame, dict(rows.left_out) | ({"not_drawn": undrawn} if undrawn else {}))


def needed_fields(table: str, source: Source) -> tuple[str, ...]:
    """The fields that a row of a table needs from this source."""
    has_names = table != "personas" or source.names == "column"
    needed = tuple(field for field in NEEDED[table] if field != "name" or has_names)
    return (*needed, OPTIONS) if table == "tasks" and source.options else needed


def needed_columns(table: str, source: Source) -> list[str]:
    """The columns that a file needs for these fields."""
    if source.unpivot:
        return list(source.unpivot)
    stated = [source.columns.get(field, field) for field in needed_fields(table, source)]
    return [name for of in stated for name in ((of,) if isinstance(of, str) else of)]
