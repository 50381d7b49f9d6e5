"""Estimates with intervals that respect what was repeated: the same tasks and the same personas."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 4000
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Estimate:
    mean: float
    low: float
    high: float
    pairs: int


def two_way_cluster_bootstrap(values: Mapping[tuple[str, str], float], seed: int) -> Estimate:
    """The mean over pairs with a percentile interval, from one value for each (task_id,
    persona_id).

    Tasks and personas are resampled independently, with replacement; a pair weighs as often as its
    task times as often as its persona was drawn. So neither is mistaken for a fresh observation
    wherever it appears again.
    """
    if not values:
        raise ValueError("an estimate needs at least one pair")
    ordered = sorted(values)
    tasks, task_of = np.unique([task for task, _ in ordered], return_inverse=True)
    personas, persona_of = np.unique([persona for _, persona in ordered], return_inverse=True)
    observed: NDArray[np.float64] = np.array([values[pair] for pair in ordered])
    rng = np.random.default_rng(seed)

    def draws(count: int) -> NDArray[np.int64]:
        return rng.multinomial(count, np.full(count, 1 / count), size=RESAMPLES)

    weights = draws(len(tasks))[:, task_of] * draws(len(personas))[:, persona_of]
    totals = weights.sum(axis=1)
    kept = totals > 0
    means = (weights[kept] @ observed) / totals[kept]
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Estimate(float(observed.mean()), float(low), float(high), len(ordered))
