"""How many cells at once one DuckDB file carries: `python benchmarks/concurrent_writers.py`.

Processes of their own write slices as cells do, each into an experiment of its own: simulated
conversations, scores, responses and judgements of so many pairs, with a pause between two tables
in which a cell would ask its models. Prints, for 1, 2, 4, 8 and 16 of them, writes per second, and
how long a write takes from when it is asked to when it is on disk, beside one writer's in the same
run. `--pause 0` shows what is left where nobody asks models: processes that write on end.
"""

import json
import multiprocessing
import tempfile
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path
from statistics import quantiles
from typing import Any

import click
import polars as pl
from rich.console import Console
from rich.table import Table

from stargate_assets.method.keys import text_id
from stargate_assets.pipeline.assets.rows import table_rows
from stargate_assets.storage.warehouse import Warehouse

console = Console()
WORDS = "I live on a houseboat with my wife and a beagle, and I would like to cook more at home. "
SHARED = {"iteration": 0, "split": "test", "policy": "0" * 64}


def pair(number: int) -> dict[str, Any]:
    return {"task_id": text_id(f"task {number // 10}"), "persona_id": text_id(f"{number % 10}")}
