"""The versions of tables: what a slice was made from, and what it would be made from now.

A version is a digest of a table's rules and prompts, of what the experiment states, of the policy,
and of the versions of what the table reads. It is stamped on the rows by whoever makes them, from
what was there when the making began (`cell_run.py`); a slice is current while it carries the
version that it would have if it were made now.
"""

from collections.abc import Callable, Iterable, Mapping

from stargate_assets.config.data_set import DataSet
from stargate_assets.config.digest import digest_text
from stargate_assets.config.experiment import Experiment
from stargate_assets.engines.engine import Checkpoint
from stargate_assets.method.arms import BASE
from stargate_assets.method.errors import StargateError
from stargate_assets.method.plan import (
    SPLITS,
    TEST_SPLIT,
    Step,
    parent_cell,
    planned_steps,
)
from stargate_assets.method.prompts import as_found_sources
from stargate_assets.method.simulation import Cell
from stargate_assets.pipeline.assets.lineage import (
    ANSWERED,
    ASIDE,
    DATA_RULES,
    EVALUATED,
    LINEAGE,
    REPORT_RULES,
    data_prompts,
    step_tables,
)
from stargate_assets.pipeline.sources.tables import content_version
from stargate_assets.storage.io_manager import slice_of
from stargate_assets.storage.warehouse import Materialization, MissingSliceError, Warehouse

BASE_POLICY = "base"
"""What stands for the hash of the untrained policy's checkpoint."""
ABSENT = "absent"
"""What stands for the version of a slice that is not there."""
REPORTED = ("gold_log_probs", *ANSWERED, "win_rates", "human_judgements", *ASIDE)
"""The last tables on the test split that a report is made from."""
Registry = Mapping[tuple[str, str], Materialization]
"""By table and slice: what is in the warehouse of a schema."""


class MissingPolicyError(StargateError):
    """The policy of a cell is not trained yet. The message names the cell that trains it."""


def policy_checkpoint(warehouse: Warehouse, name: str, cell: Cell) -> Checkpoint | None:
    """Find the questioner of a cell: None is the base model. Raises MissingPolicyError before
    anything is loaded.
    """
    parent = parent_cell(cell)
    if parent is None:
        return None
    try:
        return read_checkpoint(warehouse, name, parent)
    except MissingSliceError as error:
        raise MissingPolicyError(
            f"Policy {cell.iteration} of {name} is not trained yet; materialise the cell "
            f"{parent.key} of {name} up to checkpoints first."
        ) from error


def read_checkpoint(warehouse: Warehouse, name: str, cell: Cell) -> Checkpoint:
    """The checkpoint that was trained on a cell. Raises MissingSliceError."""
    row = warehouse.read(name, "checkpoints", [slice_of(cell.key)]).row(0, named=True)
    return Checkpoint(warehouse.path.parent / row["path"], row["sha256"])


def policy_version(policy: Checkpoint | None) -> str:
    """The data version of a policy: its checkpoint's hash."""
    return policy.sha256 if policy else BASE_POLICY


def table_version(
    experiment: Experiment,
    table: str,
    split: str,
    policy: Checkpoint | None,
    version_of: Callable[[str, str], str],
) -> str:
    """The version that a table of a cell has if it is made from what `version_of` says.

    `version_of(where, table)` is the version of a table that is read: of the data set (`where` is
    "data"), of the same cell ("cell") or of the base model's cell ("reference").
    """
    lineage = LINEAGE[table]
    read = {"data": lineage.data, "cell": lineage.cell, "reference": lineage.reference}
    return digest_text(
        str(lineage.rules),
        *experiment.told.sources(lineage.prompts(experiment, split)),
        experiment.digest(split),
        policy_version(policy),
        *(version_of(where, name) for where, names in read.items() for name in names),
    )


def training_version(experiment: Experiment, split: str) -> str:
    """What decides which policy a training split gives, beside the data and the policy before: two
    experiments that have it alike train alike.
    """
    prompts = {name for table in LINEAGE for name in LINEAGE[table].prompts(experiment, split)}
    return digest_text(experiment.digest(split), *experiment.told.sources(sorted(prompts)))


def code_version(experiment: Experiment, table: str) -> str:
    """What Dagster shows as an asset's code version: it moves with the table's rules, its prompts
    and what the experiment states, on any split.
    """
    lineage = LINEAGE[table]
    prompts = {name for split in SPLITS for name in lineage.prompts(experiment, split)}
    return digest_text(
        str(lineage.rules), *experiment.told.sources(sorted(prompts)), experiment.digest()
    )


def cell_versions(
    experiment: Experiment, cell: Cell, policy: Checkpoint | None, data: Registry
) -> dict[str, str]:
    """The version that each table of a cell has if the whole cell is made now. `data` is what is
    there of the data set.
    """
    found: dict[str, str] = {}
    reference = found
    if cell.iteration != BASE:
        reference = cell_versions(experiment, Cell(BASE, cell.split), None, data)

    def version_of(where: str, table: str) -> str:
        if where == "data":
            return registered_version(data, table, cell.split)
        return (found if where == "cell" else reference)[table]

    for table in LINEAGE:  # each after those that it reads
        found[table] = table_version(experiment, table, cell.split, policy, version_of)
    return found


def registered_version(registry: Registry, table: str, where: str) -> str:
    """The version of a slice in the warehouse."""
    found = registry.get((table, where))
    return ABSENT if found is None else found.version


def done_steps(warehouse: Warehouse, name: str, experiment: Experiment) -> list[Step]:
    """The planned steps whose tables are all there and current."""
    there, data = warehouse.materializations(name), warehouse.materializations(experiment.data_set)
    done: list[Step] = []
    for step in planned_steps(experiment.iterations):
        parent = parent_cell(step.cell)
        if parent is not None and Step(parent, "train") not in done:
            continue
        policy = policy_checkpoint(warehouse, name, step.cell)
        versions = cell_versions(experiment, step.cell, policy, data)
        tables = step_tables(step.purpose, experiment)
        if all(registered_version(there, t, step.cell.key) == versions[t] for t in tables):
            done.append(step)
    return done


def missing_aside(
    warehouse: Warehouse, name: str, experiment: Experiment
) -> list[tuple[str, Cell]]:
    """The tables aside that are missing or out of date, with the cell, of the steps that are
    done.
    """
    there, data = warehouse.materializations(name), warehouse.materializations(experiment.data_set)
    found: list[tuple[str, Cell]] = []
    for step in done_steps(warehouse, name, experiment):
        policy = policy_checkpoint(warehouse, name, step.cell)
        versions = cell_versions(experiment, step.cell, policy, data)
        found += [
            (table, step.cell)
            for table in ASIDE
            if registered_version(there, table, step.cell.key) != versions[table]
        ]
    return found


def report_version(warehouse: Warehouse, name: str) -> str:
    """The version that a report has if it is made now: of its rules, of the test cells and the
    external evaluations that are there, and of what people have said of their responses.
    """
    there = warehouse.materializations(name)
    versions = sorted(
        f"{where} {table} {found.version}"
        for (table, where), found in there.items()
        if (table in REPORTED and where.endswith(TEST_SPLIT)) or table == EVALUATED
    )
    return digest_text(str(REPORT_RULES), *versions)


def report_is_due(warehouse: Warehouse, name: str) -> bool:
    """Whether the report would be another if it were made now."""
    there = warehouse.materializations(name)
    return registered_version(there, "report", "all") != report_version(warehouse, name)


def data_versions(data_set: DataSet) -> dict[str, str]:
    """The version that each table of a data set has if it is made from its sources as they are
    now.
    """
    content = content_version(data_set)
    found: dict[str, str] = {}
    for table in data_set.tables:
        prompts = data_set.prompts.sources(data_prompts(data_set, table))
        if table == "personas" and data_set.has_unusual_personas:
            prompts += as_found_sources()
        found[table] = digest_text(content, str(DATA_RULES[table]), *prompts)
        if table != "gold_responses" and prompts:
            content = found[table]  # what follows is of the tasks or personas that are written
    return found


def missing_splits(
    warehouse: Warehouse, data_set: str, current: Mapping[str, str], splits: Iterable[str]
) -> list[str]:
    """Which of these splits of a data set have not all tables in their `current` versions."""
    there = warehouse.materializations(data_set)
    return [
        split
        for split in splits
        if any(registered_version(there, t, split) != version for t, version in current.items())
    ]
