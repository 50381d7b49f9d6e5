"""What a policy does on an external evaluation, as the warehouse has it."""

from stargate_assets.method.conversation import Conversation
from stargate_assets.method.evaluations import in3
from stargate_assets.method.evaluations.kind import Outcome
from stargate_assets.method.simulation import Cell
from stargate_assets.pipeline.assets.evaluation_sets import outcome_rows
from stargate_assets.storage.io_manager import slice_of
from stargate_assets.storage.warehouse import Warehouse
from stargate_assets_tests.method.records import TASKS


def store_outcomes(warehouse: Warehouse, name: str) -> None:
    """Keep what a policy that asks makes of tasks of our own."""
    items = [in3.read_item(record) for record in TASKS]
    asked = [
        Conversation(item.pair, 0, "user", ("Which?",), (False,), ("I see.",)) for item in items
    ]
    found = [Outcome(i, c, {"asks": 1.0}) for i, c in zip(items, asked, strict=True)]
    rows = outcome_rows(Cell(0, "in3"), "in3", "base", found)
    warehouse.write(name, "evaluation_outcomes", slice_of("0|in3"), rows, "1-1")
