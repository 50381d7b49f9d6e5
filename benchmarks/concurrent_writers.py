"""How many cells at once one DuckDB file carries: `python benchmarks/concurrent_writers.py`.

Processes of their own write slices as cells do, each of an experiment of its own: the conversations
and the scores of so many pairs, one after the other, with a pause before each in which a cell would
ask its models. Prints, for 1, 2, 4, 8 and 16 processes, how many slices a second are written, how
long a write takes from when it is asked for to when it is on disk, and that beside one process's in
the same run. `--pause 0` shows what the file itself can take: processes that do nothing but write.
"""

import multiprocessing
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from random import Random
from statistics import quantiles
from typing import Any

import click
import polars as pl
from rich.console import Console
from rich.table import Table

from stargate_assets.method.keys import text_id
from stargate_assets.pipeline.assets.rows import table_rows
from stargate_assets.storage.warehouse import Warehouse

PROCESSES = (1, 2, 4, 8, 16)
console = Console()
WORDS = "I live on a houseboat with my wife and a beagle, and I would like to cook more at home. "
SHARED = {"iteration": 0, "split": "test", "policy": "0" * 64}


def pair(number: int) -> dict[str, Any]:
    return {"task_id": text_id(f"task {number // 10}"), "persona_id": text_id(f"{number % 10}")}


def conversations(pairs: int) -> pl.DataFrame:
    """Ten for each pair, of three turns."""
    texts = {"questions": [WORDS] * 3, "answers": [WORDS * 2] * 3, "truncated": [False] * 3}
    of = {"roleplayer": "any", "question_rate": 1.0, "ineligibility": None, **texts}
    rows = [SHARED | pair(n) | {"sample": s} | of for n in range(pairs) for s in range(10)]
    return table_rows("conversations", rows)


def gold_log_probs(pairs: int) -> pl.DataFrame:
    """One for each conversation."""
    of = {"condition": "experimental", "heard_persona_id": "p", "log_prob": -200.0, "tokens": 90}
    rows = [SHARED | pair(n) | {"sample": s} | of for n in range(pairs) for s in range(10)]
    return table_rows("gold_log_probs", rows)


def write_cells(name: str, path: Path, cells: int, pairs: int, pause: float) -> list[float]:
    """Write two tables of so many cells; returns how many seconds each write took."""
    warehouse = Warehouse(path).of_a_run(console.print)
    tables = {"conversations": conversations(pairs), "gold_log_probs": gold_log_probs(pairs)}
    rng, taken = Random(name), list[float]()
    for number in range(cells):
        where = {"iteration": number, "split": "test"}
        for table, rows in tables.items():
            time.sleep(rng.uniform(0.5, 1.5) * pause)
            made = rows.with_columns(iteration=pl.lit(number, pl.Int64))
            asked = time.perf_counter()
            warehouse.write(name, table, where, made, "0" * 64)
            taken.append(time.perf_counter() - asked)
            warehouse.materializations(name)  # as a driver does, to see what is next
    return taken


def measure(
    pool: ProcessPoolExecutor, processes: int, cells: int, pairs: int, pause: float
) -> tuple[float, list[float]]:
    """Seconds that all of them took, and those of each write."""
    with tempfile.TemporaryDirectory() as directory:
        path, started = Path(directory) / "stargate.duckdb", time.perf_counter()
        names = [f"experiment_{number}" for number in range(processes)]
        running = [pool.submit(write_cells, name, path, cells, pairs, pause) for name in names]
        taken = [seconds for each in running for seconds in each.result()]
        return time.perf_counter() - started, taken


@click.command()
@click.option("--cells", default=4, help="Of each process.")
@click.option("--pairs", default=500, help="Of a cell, with ten conversations each.")
@click.option("--pause", default=5.0, help="Seconds before a write, on average.")
def main(cells: int, pairs: int, pause: float) -> None:
    """Measure writes into one DuckDB file by ever more processes."""
    table = Table(title=f"{pairs * 10:,} rows a slice, one about every {pause:g} s of a process")
    for column in ("processes", "slices/s", "p50, s", "p99, s", "longest, s", "p50 to one's"):
        table.add_column(column, justify="right")
    alone, most = 0.0, max(PROCESSES)
    with ProcessPoolExecutor(most, multiprocessing.get_context("spawn")) as pool:
        measure(pool, most, 1, 1, 1.0)  # until each of them has started, and DuckDB in it
        for processes in PROCESSES:
            seconds, taken = measure(pool, processes, cells, pairs, pause)
            p50, p99 = percentiles(taken)
            alone = alone or p50
            figures = (len(taken) / seconds, p50, p99, max(taken), p50 / alone)
            table.add_row(str(processes), *(f"{figure:.2f}" for figure in figures))
    console.print(table)


def percentiles(values: Sequence[float]) -> tuple[float, float]:
    """The 50th and the 99th."""
    found = quantiles(values, n=100, method="inclusive")
    return found[49], found[98]


if __name__ == "__main__":
    main()
