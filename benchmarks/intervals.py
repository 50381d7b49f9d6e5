"""How often an interval at 95 % covers the truth: `python benchmarks/intervals.py`.

Tables of tasks x personas with planted effects of tasks, personas and pairs. `clustered` is what
the reports use; beside it a two-way bootstrap, the variance of Cameron, Gelbach and Miller with t
of the smaller number of clusters less one, and the naive interval. Then the paper's design, 50
tasks x 10 personas x 10 conversations with one gold response for each pair: how much the naive
standard error over 5,000 rows understates.
"""

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from stargate_assets.method.statistics import (
    clustered_mean,
    clustered_share,
    t_quantile,
    two_way_clustered,
    wilson,
)

TABLES, RESAMPLES = 1000, 1000
TRUTH = 0.7
DESIGNS = ((50, 10), (10, 4), (8, 4), (50, 4))
EFFECTS = ((1.0, 1.0, 1.0), (0.5, 0.5, 1.0), (1.0, 0.0, 1.0), (0.0, 0.5, 1.0), (0.0, 0.0, 1.0))
"""Standard deviations between tasks, personas, and pairs."""
Values = NDArray[np.float64]
Interval = Callable[[Values], tuple[float, float]]
console = Console(width=140)


def drawn(
    rng: np.random.Generator, shape: tuple[int, int], effects: tuple[float, float, float]
) -> Values:
    tasks, personas = shape
    of_task, of_persona, own = effects
    return (
        of_task * rng.normal(size=(tasks, 1))
        + of_persona * rng.normal(size=(1, personas))
        + own * rng.normal(size=shape)
    )


def by_pair(table: Values) -> dict[tuple[str, str], float]:
    return {(f"t{t}", f"p{p}"): float(value) for (t, p), value in np.ndenumerate(table)}


def clustered(table: Values) -> tuple[float, float]:
    found = two_way_clustered(by_pair(table))
    return found.low, found.high


def share(table: Values) -> tuple[float, float]:
    found = clustered_share(by_pair(table))
    return found.low, found.high


def cameron_gelbach_miller(table: Values) -> tuple[float, float]:
    tasks, personas = table.shape
    variance = (
        personas * table.mean(1).var(ddof=1) + tasks * table.mean(0).var(ddof=1) - table.var(ddof=1)
    )
    half = t_quantile(min(tasks, personas) - 1) * math.sqrt(max(0.0, variance) / table.size)
    return table.mean() - half, table.mean() + half


def bootstrap(table: Values) -> tuple[float, float]:
    """Tasks and personas drawn independently, with replacement."""
    rng = np.random.default_rng(0)

    def weights(count: int) -> Values:
        return rng.multinomial(count, np.full(count, 1 / count), size=RESAMPLES) / count

    tasks, personas = table.shape
    means = np.einsum("rt,tp,rp->r", weights(tasks), table, weights(personas), optimize=True)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def naive(table: Values) -> tuple[float, float]:
    half = NormalDist().inv_cdf(0.975) * table.std(ddof=1) / math.sqrt(table.size)
    return table.mean() - half, table.mean() + half


def naive_share(table: Values) -> tuple[float, float]:
    return wilson(float(table.mean()), table.size)


def coverage(interval: Interval, tables: list[Values], truth: float) -> str:
    covered = sum(low <= truth <= high for low, high in map(interval, tables))
    return f"{covered / len(tables):.1%}"


def main() -> None:
    rng = np.random.default_rng(0)
    names = ("clustered", "bootstrap", "CGM, t", "naive", "win rate, clustered", "win rate, naive")
    printed = Table("tasks x personas", "sd of task, persona, pair", *names)
    for shape in DESIGNS:
        for effects in EFFECTS:
            tables = [drawn(rng, shape, effects) for _ in range(TABLES)]
            bar = NormalDist(sigma=math.hypot(*effects)).inv_cdf(1 - TRUTH)
            won = [(table > bar).astype(float) for table in tables]
            printed.add_row(
                "{} x {}".format(*shape),
                ", ".join(map(str, effects)),
                *(
                    coverage(interval, tables, 0)
                    for interval in (clustered, bootstrap, cameron_gelbach_miller, naive)
                ),
                *(coverage(interval, won, TRUTH) for interval in (share, naive_share)),
            )
    console.print(printed)
    for effects in ((1.0, 1.0, 1.0), (0.0, 0.0, 1.0)):
        ratio = understated(rng, effects)
        console.print(
            f"50 x 10 x 10 conversations, sd of task, persona, pair {effects}, conversation 1: the "
            f"clustered standard error is {ratio:.1f} times the naive one over 5,000 rows."
        )


def understated(rng: np.random.Generator, effects: tuple[float, float, float]) -> float:
    """The median over TABLES. Conversations of a pair share its gold response."""
    ratios: list[float] = []
    for _ in range(TABLES):
        rows = drawn(rng, (50, 10), effects)[:, :, None] + rng.normal(size=(50, 10, 10))
        error = rows.std(ddof=1) / math.sqrt(rows.size)
        ratios.append(math.sqrt(clustered_mean(by_pair(rows.mean(2))).variance) / error)
    return float(np.median(ratios))


if __name__ == "__main__":
    main()
