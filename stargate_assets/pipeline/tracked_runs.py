"""What trackers are told of an experiment: its policies, from what is in the warehouse."""

import re
import subprocess
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from stargate_assets.config.digest import digest_text
from stargate_assets.config.experiment import Experiment
from stargate_assets.config.model_spec import public_label
from stargate_assets.method.plan import TEST_SPLIT, Step, parent_cell
from stargate_assets.method.simulation import Cell
from stargate_assets.pipeline.assets.lineage import planned_tables
from stargate_assets.pipeline.assets.versions import (
    code_version,
    done_steps,
    policy_checkpoint,
    policy_version,
    report_is_due,
)
from stargate_assets.reporting.trackers.tracker import Point, TrackedRun
from stargate_assets.storage.io_manager import slice_of
from stargate_assets.storage.warehouse import Warehouse

TRACKED = ("checkpoints", "win_rates", "report")
"""The tables that points come from."""
CODE = ("package", "git")
"""The facts that say which code was there."""
_STATED = ("simulation", "selection", "training")
_NOT_IN_A_NAME = re.compile(r"[^\w.\- ]+", re.ASCII)
"""What some tracker does not take in the name of a metric."""
Row = dict[str, Any]


def tracked_runs(warehouse: Warehouse, name: str, experiment: Experiment) -> list[TrackedRun]:
    """Each policy of an experiment that is trained, or is the base model: the losses of its
    training, its estimates and win rates on the test split as far as they are there and current,
    and what it was made from.
    """
    done = done_steps(warehouse, name, experiment)
    reported, code = _read_report(warehouse, name), _code()
    runs: list[TrackedRun] = []
    for policy in range(experiment.iterations + 1):
        tested = Cell(policy, TEST_SPLIT)
        parent, evaluated = parent_cell(tested), Step(tested, "evaluate")
        trained = Step(parent, "train") if parent else None
        made_in = [step for step in (trained, evaluated) if step in done]
        if trained not in [None, *made_in] or not made_in:
            continue
        points: list[Point] = []
        if trained is not None:
            points += _losses(warehouse, name, trained.cell)
        if evaluated in done:
            points += _estimates(reported, policy)
            if experiment.judge is not None:
                points += _win_rates(warehouse, name, tested)
        sha256 = policy_version(policy_checkpoint(warehouse, name, tested))
        facts = {
            "experiment": name,
            "policy": policy,
            "seed": experiment.seed,
            "checkpoint": sha256,
            "digest": experiment.digest(),
            **code,
            **_lineage(warehouse, name, experiment, made_in),
            **_stated_numbers(experiment),
        }
        key = digest_text(name, str(policy), str(experiment.seed), sha256)
        title = f"{name}, policy {policy}, seed {experiment.seed}"
        runs.append(TrackedRun(key, name, title, facts, points))
    return runs


def _losses(warehouse: Warehouse, name: str, cell: Cell) -> Iterator[Point]:
    row = warehouse.read(name, "checkpoints", [slice_of(cell.key)]).row(0, named=True)
    for metric, column in (("loss", "losses"), ("preference_loss", "preference_losses")):
        for step, loss in enumerate(row[column], start=1):
            yield Point(f"training/{metric}", step, loss)


def _read_report(warehouse: Warehouse, name: str) -> list[Row]:
    """The rows of the report; none of one that is not there, or older than what it reports on."""
    if report_is_due(warehouse, name):
        return []
    return warehouse.read(name, "report", [{}]).to_dicts()


def _estimates(reported: list[Row], policy: int) -> Iterator[Point]:
    for row in reported:
        if row["iteration"] == policy:
            metric = "/".join(filter(None, ("test", row["arm"], row["metric"])))
            columns = {"mean": "", "low": "_low", "high": "_high"}
            columns |= {gain: f"_{gain}" for gain in ("gain", "gain_low", "gain_high")}
            yield from _points(metric, policy, row, columns)


def _win_rates(warehouse: Warehouse, name: str, cell: Cell) -> Iterator[Point]:
    rows = warehouse.read(name, "win_rates", [slice_of(cell.key)]).filter(dimension="all")
    for row in rows.to_dicts():
        judge = _NOT_IN_A_NAME.sub("-", public_label(row["judge"]))
        metric = f"test/{row['arm']}/win_rate/{row['reference']}/{judge}"
        columns = {"win_rate": "", "low": "_low", "high": "_high"}
        yield from _points(metric, cell.iteration, row, columns)


def _points(metric: str, policy: int, row: Row, columns: dict[str, str]) -> Iterator[Point]:
    """A point for each of these columns that has a value; each with the end of its name."""
    for column, end in columns.items():
        if row[column] is not None:
            yield Point(f"{metric}{end}", policy, row[column])


def _lineage(
    warehouse: Warehouse, name: str, experiment: Experiment, steps: list[Step]
) -> dict[str, str]:
    """The versions of the tables of these cells, and of the data set on their splits; and of the
    code that made each table.
    """
    facts: dict[str, str] = {}
    there, data = warehouse.materializations(name), warehouse.materializations(experiment.data_set)
    for step in steps:
        cell = step.cell
        for table in planned_tables(step.purpose, experiment):
            place = f"{cell.iteration}/{cell.split}/{table}"
            facts[f"version/{place}"] = there[table, cell.key].version
            facts[f"code/{table}"] = code_version(experiment, table)
        for (table, split), found in data.items():
            if split == cell.split:
                facts[f"version/{experiment.data_set}/{split}/{table}"] = found.version
    return facts


def _stated_numbers(experiment: Experiment) -> dict[str, int | float]:
    """What an experiment states in numbers, which are nobody's text."""
    return {
        f"{part}.{field}": value
        for part in _STATED
        for field, value in getattr(experiment, part).model_dump().items()
        if isinstance(value, int | float)
    }


def _code() -> dict[str, str]:
    """The version of this package, and the commit of the project's directory where git has it."""
    facts = {"package": metadata.version("stargate-assets")}
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        found = subprocess.run(command, cwd=Path.cwd(), capture_output=True, text=True, check=False)
    except FileNotFoundError:  # git
        return facts
    return facts | ({"git": found.stdout.strip()} if found.returncode == 0 else {})
