"""Which reader takes which file."""

from collections.abc import Callable

from stargate_assets.config.data_set import Source
from stargate_assets.pipeline.sources.files import SourceFile
from stargate_assets.pipeline.sources.grids import csv_records, xlsx_records
from stargate_assets.pipeline.sources.records import (
    Records,
    json_lines_records,
    json_records,
    parquet_records,
)

_READERS: dict[str, Callable[[SourceFile, Source], Records]] = {
    ".csv": csv_records,
    ".tsv": csv_records,
    ".json": json_records,
    ".jsonl": json_lines_records,
    ".ndjson": json_lines_records,
    ".parquet": parquet_records,
    ".xlsx": xlsx_records,
}


def read_records(file: SourceFile, source: Source) -> Records:
    """The file's records, by its ending. Raises DataError, at the latest when they are iterated."""
    return _READERS[file.suffix](file, source)
