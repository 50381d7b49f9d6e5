"""How rows become an asset's output, and what the UI shows of a table."""

from collections.abc import Mapping
from typing import Any

import dagster as dg
import polars as pl

from stargate_assets.reporting.style import Picture
from stargate_assets.storage.io_manager import VERSION
from stargate_assets.storage.schemas import SCHEMAS, table_columns


def table_output(
    rows: pl.DataFrame,
    version: str,
    metadata: Mapping[str, Any],
    data_version: str | None = None,
) -> dg.Output[pl.DataFrame]:
    """Rows as an asset's output; `version` is what the IO manager notes beside the slice."""
    return dg.Output(
        rows,
        metadata={
            VERSION: version,
            "dagster/row_count": rows.height,
            # Dagster stores no enum, though it is a string.
            **{str(label): value for label, value in metadata.items()},
        },
        data_version=None if data_version is None else dg.DataVersion(data_version),
    )


def picture_metadata(picture: Picture | None) -> dict[str, dg.MarkdownMetadataValue]:
    """A figure as metadata, if there is one."""
    return {} if picture is None else {picture.title: dg.MetadataValue.md(picture.markdown())}


def column_schema(table: str) -> dg.TableSchema:
    """A table's columns as the UI shows them."""
    return dg.TableSchema(
        [
            dg.TableColumn(
                column.name,
                column.type,
                column.description,
                dg.TableColumnConstraints(nullable=column.nullable),
            )
            for column in table_columns(SCHEMAS[table])
        ]
    )
