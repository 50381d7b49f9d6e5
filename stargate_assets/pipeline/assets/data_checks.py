"""Checks of a data set's tables in the warehouse: what reading demands of files and writing of
models is true of the rows that are there, and of all splits together.
"""

from collections.abc import Callable, Iterator
from functools import partial

import dagster as dg
import polars as pl
from dataframely.exc import ValidationError

from stargate_assets.config.data_set import DataSet
from stargate_assets.method.hygiene import fault, names_in_tasks, repeated_texts
from stargate_assets.method.plan import SPLITS
from stargate_assets.method.text import NEAR_DUPLICATE, SHINGLE, SameText, near_duplicates
from stargate_assets.pipeline.assets.grid import split_partitions
from stargate_assets.pipeline.assets.rows import pairs_from_rows
from stargate_assets.pipeline.sources.tables import Read
from stargate_assets.storage.schemas import SCHEMAS
from stargate_assets.storage.warehouse import Warehouse

SHOWN = 5
"""Findings that a failed check quotes."""
NEAR_DUPLICATES = "near_duplicates"
DESCRIPTIONS = {
    "valid": "The rows fit the table's schema; texts have a usable length and no control "
    "characters.",
    "disjoint": "Nothing stands twice, in one split or in two, whatever its case, spaces, Unicode "
    "form and sentence marks.",
    NEAR_DUPLICATES: f"No two texts have shingles of {SHINGLE} characters with a Jaccard "
    f"similarity of {NEAR_DUPLICATE} or more.",
    "as_in_the_source": "The texts are those of the source, letter by letter.",
    "names_absent_from_tasks": "No task holds the name of a persona.",
    "right_options": "Every gold response is one of its task's options.",
    "every_pair": "Every task has a row for every persona of the split.",
}
TEXTS = {"tasks": ("text",), "personas": ("name", "text"), "gold_responses": ("text",)}
Find = Callable[["DataSlices"], list[str]]


class DataSlices:
    """The tables of a data set as a check of one split sees them."""

    def __init__(self, warehouse: Warehouse, name: str, split: str):
        self.warehouse, self.name, self.split = warehouse, name, split

    def here(self, table: str) -> pl.DataFrame:
        return self.warehouse.read(self.name, table, [{"split": self.split}])

    def everywhere(self, table: str) -> pl.DataFrame:
        """The rows of every split that is there."""
        there = self.warehouse.materializations(self.name)
        splits = [{"split": split} for split in SPLITS if (table, split) in there]
        return self.warehouse.read(self.name, table, splits)


def data_set_checks(name: str, data_set: DataSet, read: Read) -> list[dg.AssetChecksDefinition]:
    """Blocking checks of each table, and a warning for near-duplicates."""
    finds = _finds(data_set, read)

    def checks(table: str) -> dg.AssetChecksDefinition:
        """All checks of a table in one step, because a step takes longer than most checks."""
        key = dg.AssetKey([name, table])

        @dg.multi_asset_check(
            name=key.to_python_identifier("checks"),
            specs=[
                dg.AssetCheckSpec(
                    check_name,
                    asset=key,
                    description=DESCRIPTIONS[check_name],
                    blocking=check_name != NEAR_DUPLICATES,
                    partitions_def=split_partitions,
                )
                for check_name in finds[table]
            ],
        )
        def checked(
            context: dg.AssetCheckExecutionContext, warehouse: dg.ResourceParam[Warehouse]
        ) -> Iterator[dg.AssetCheckResult]:
            slices = DataSlices(warehouse, name, context.partition_key)
            for check_name, find in finds[table].items():
                yield make_result(
                    find(slices), check_name, key, blocking=check_name != NEAR_DUPLICATES
                )

        return checked

    return [checks(table) for table in finds]


def _finds(data_set: DataSet, read: Read) -> dict[str, dict[str, Find]]:
    """What finds faults in each table, by the name of the check."""
    finds: dict[str, dict[str, Find]] = {
        table: {"valid": partial(find_invalid, table=table)} for table in data_set.tables
    }
    for table in ("tasks", "personas"):
        finds[table]["disjoint"] = partial(find_repeats, table=table, same=data_set.same_text)
        finds[table][NEAR_DUPLICATES] = partial(find_near_duplicates, table=table)
    for table in ("tasks", "personas"):
        if getattr(data_set, table) is None:  # a model writes it
            continue
        finds[table]["as_in_the_source"] = partial(find_changed, table=table, read=read)
    finds["personas"]["names_absent_from_tasks"] = find_names_in_tasks
    if data_set.has_gold_responses:
        finds["gold_responses"]["every_pair"] = find_pairs_without_row
    if data_set.has_options:
        finds["gold_responses"]["right_options"] = find_other_texts
    return finds


def make_result(
    findings: list[str], check_name: str, key: dg.AssetKey, *, blocking: bool = True
) -> dg.AssetCheckResult:
    """Passed without findings; otherwise their number, and the first of them."""
    severity = dg.AssetCheckSeverity.ERROR if blocking else dg.AssetCheckSeverity.WARN
    return dg.AssetCheckResult(
        passed=not findings,
        asset_key=key,
        check_name=check_name,
        severity=severity,
        metadata={"findings": len(findings)},
        description="\n".join(findings[:SHOWN]) or None,
    )


def find_invalid(slices: DataSlices, table: str) -> list[str]:
    rows = slices.here(table)
    try:
        SCHEMAS[table].validate(rows, cast=True)
    except ValidationError as error:
        return [str(error)]
    if "exclusion" in rows.columns:
        rows = rows.filter(pl.col("exclusion").is_null())
    return [
        f"{column} {value!r} {found.message}"
        for column in TEXTS[table]
        for value in rows[column].drop_nulls()
        if (found := fault(column, value)) is not None
    ]


def find_repeats(slices: DataSlices, table: str, same: SameText = "marks") -> list[str]:
    everywhere = slices.everywhere(table)
    return [
        f"{column} {rows[column][later]!r} is in {rows['split'][first]} and {rows['split'][later]}"
        for column in TEXTS[table]
        for rows in [everywhere.drop_nulls(column)]
        for first, later in repeated_texts(rows[column].to_list(), same)
    ]


def find_near_duplicates(slices: DataSlices, table: str) -> list[str]:
    rows = slices.everywhere(table)
    return [
        f"{similarity:.2f}: {rows['text'][one]!r} and {rows['text'][other]!r}"
        for one, other, similarity in near_duplicates(rows["text"].to_list())
        if slices.split in (rows["split"][one], rows["split"][other])
    ]


def find_changed(slices: DataSlices, table: str, read: Read) -> list[str]:
    source = read().tasks if table == "tasks" else read().personas
    assert source is not None
    rows, expected = slices.here(table), source.of(slices.split)
    return [
        repr(value)
        for column in TEXTS[table]
        for value in sorted(set(rows[column]) ^ set(expected[column]))
    ]


def find_names_in_tasks(slices: DataSlices) -> list[str]:
    names = slices.here("personas")["name"].drop_nulls().to_list()
    tasks = slices.everywhere("tasks")["text"].to_list()
    return [f"{names[n]!r} is in {tasks[t]!r}" for n, t in names_in_tasks(names, tasks)]


def find_pairs_without_row(slices: DataSlices) -> list[str]:
    there = set(slices.here("gold_responses").select("task_id", "persona_id").iter_rows())
    pairs = pairs_from_rows(slices.here("tasks"), slices.here("personas"))
    return [
        f"{pair.persona.known_as!r} and {pair.task.text!r}"
        for pair in pairs
        if pair.key not in there
    ]


def find_other_texts(slices: DataSlices) -> list[str]:
    options = dict(slices.here("tasks").select("task_id", "options").iter_rows())
    rows = slices.here("gold_responses").select("task_id", "text").iter_rows()
    return [repr(text) for task, text in rows if text not in (options.get(task) or ())]
