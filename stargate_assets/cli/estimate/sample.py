"""The pairs of a split whose prompts an estimate makes; the others are taken to be like them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import cycle

import polars as pl

from stargate_assets.config.data_set import DATA_TABLES, PersonaWriter, TaskWriter
from stargate_assets.definitions.project import Project
from stargate_assets.method.conversation import Conversation, Pair
from stargate_assets.method.evaluations import EVALUATIONS
from stargate_assets.method.evaluations.kind import Item, Kind
from stargate_assets.method.simulation import Cell
from stargate_assets.method.splits import draw
from stargate_assets.pipeline.assets.cell_run import read_pairs
from stargate_assets.pipeline.assets.evaluation_sets import evaluated_cells, missing_evaluations
from stargate_assets.pipeline.assets.rows import (
    conversations_from_rows,
    gold_texts,
    pairs_from_rows,
)
from stargate_assets.pipeline.assets.versions import missing_aside
from stargate_assets.pipeline.sources.evaluation_sets import read_items
from stargate_assets.pipeline.sources.tables import Tables, reader
from stargate_assets.storage.io_manager import slice_of

COUNTED = 6
"""Tasks and personas of a split."""
COUNTED_ITEMS = 24
"""Items of an external evaluation."""


@dataclass(frozen=True, slots=True)
class PairSample:
    """All pairs of a split, those of them that are counted, and the gold responses that are
    there.
    """

    every: list[Pair]
    pairs: list[Pair]
    gold: Mapping[tuple[str, str], str]

    @property
    def times(self) -> float:
        return len(self.every) / len(self.pairs)


def sample_pairs(project: Project, schema: str, split: str) -> PairSample:
    """Of a data set: from its tables if they are there, else from its sources."""
    data_set, warehouse = project.data_sets[schema], project.warehouse
    if (DATA_TABLES[-1], split) in warehouse.materializations(schema):
        slices = [{"split": split}]
        tasks, personas, gold = (warehouse.read(schema, t, slices) for t in DATA_TABLES)
    else:
        read = reader(schema, data_set)()
        writer = data_set.task_writer
        tasks = read.tasks.of(split) if writer is None else _stand_in_tasks(read, writer, split)
        if read.personas is not None:
            personas = read.personas.of(split)
        else:
            assert data_set.persona_writer is not None
            personas = _stand_in_personas(read, data_set.persona_writer, split)
        gold = read.gold_responses.of(split) if read.gold_responses else None
    some_tasks, some_personas = (
        rows.filter(pl.col(key).is_in(draw(rows[key], COUNTED, "estimate", split)))
        for rows, key in ((tasks, "task_id"), (personas, "persona_id"))
    )
    return PairSample(
        pairs_from_rows(tasks, personas),
        pairs_from_rows(some_tasks, some_personas),
        {} if gold is None else gold_texts(gold),
    )


def cells_to_audit(project: Project, name: str) -> Iterator[tuple[Cell, list[Conversation]]]:
    """The cells of an experiment that are done but for their audit, with their conversations."""
    warehouse, experiment = project.warehouse, project.experiments[name]
    for table, cell in missing_aside(warehouse, name, experiment):
        if table != "roleplayer_audit":
            continue
        pairs = read_pairs(warehouse, experiment.data_set, cell.split)
        rows = warehouse.read(name, "conversations", [slice_of(cell.key)])
        yield cell, conversations_from_rows(rows, pairs)


def items_to_evaluate(
    project: Project, name: str
) -> Iterator[tuple[Cell, Kind, list[Item], float]]:
    """The cells on external evaluations that are due, those of policies to come included: the kind,
    the items whose prompts are made, and how many there are for each of these.
    """
    warehouse, experiment = project.warehouse, project.experiments[name]
    missing = missing_evaluations(warehouse, name, experiment, project.evaluation_sets)
    due = {cell for cell, _ in missing}
    there = {cell for cell, _ in evaluated_cells(warehouse, name, experiment)}
    for evaluation in experiment.evaluations:
        stated = project.evaluation_sets[evaluation]
        items = {item.item_id: item for item in read_items(evaluation, stated).items}
        counted = [items[key] for key in sorted(draw(items, COUNTED_ITEMS, "estimate"))]
        for iteration in range(experiment.iterations + 1):
            cell = Cell(iteration, evaluation)
            if cell in due or cell not in there:
                yield cell, EVALUATIONS[stated.kind], counted, len(items) / len(counted)


def _stand_in_tasks(read: Tables, writer: TaskWriter, split: str) -> pl.DataFrame:
    """The examples, for tasks that are not written yet."""
    rows = [
        {"task_id": str(number), "text": example.text, "domain": None, "kind": example.kind}
        for number, example in zip(range(getattr(writer.sizes, split)), cycle(read.task_examples))
    ]
    return pl.DataFrame(rows)


def _stand_in_personas(read: Tables, writer: PersonaWriter, split: str) -> pl.DataFrame:
    """The examples, for personas that are not written yet."""
    rows = [
        {"persona_id": str(number), "name": example.name, "text": example.text}
        for number, example in zip(range(getattr(writer.sizes, split)), cycle(read.examples))
    ]
    return pl.DataFrame(rows)
