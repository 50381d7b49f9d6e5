"""Records of a data set on the Hugging Face Hub, or of a local directory in its format."""

from collections.abc import Iterator
from typing import Any

from stargate_assets.config.data_set import DataError, HubDataSet
from stargate_assets.pipeline.sources.records import Record, Records


def read_hub(hub: HubDataSet) -> Records:
    """The rows of one split. Raises DataError where the data set cannot be had."""
    try:
        import datasets
        from datasets.exceptions import DatasetsError
    except ImportError as error:
        raise DataError(
            "Reading from the Hub needs the package datasets; install the extra: "
            "pip install 'stargate-assets[hub]'."
        ) from error
    try:
        rows: Any = datasets.load_dataset(
            hub.repository, hub.configuration, split=hub.split, revision=hub.revision
        )
    except (OSError, ValueError, RuntimeError, DatasetsError) as error:  # a script: RuntimeError
        first_line = str(error).splitlines()[0]
        raise DataError(
            f"The Hub data set {hub.repository!r} cannot be read ({first_line}); correct its "
            "repository, configuration, split or revision."
        ) from error

    def records() -> Iterator[Record]:
        for number, row in enumerate(rows, start=1):
            yield Record(f"row {number}", row)

    return Records(hub.repository, rows.column_names, records())
