"""`stargate headroom`: whether the gold responses of a data set leave anything to win by asking."""

from collections.abc import Iterator
from statistics import median

from stargate_assets.cli.driver import DriverError
from stargate_assets.cli.estimate.sample import sample_pairs
from stargate_assets.config.model_spec import ModelSpec
from stargate_assets.definitions.project import Project
from stargate_assets.method.headroom import (
    ABOUT,
    headroom_warnings,
    measure_headroom,
    summarise_gold,
)
from stargate_assets.method.plan import TEST_SPLIT
from stargate_assets.method.prompts import SHIPPED
from stargate_assets.method.splits import draw
from stargate_assets.storage.completions import Use


def describe_headroom(
    project: Project, name: str, model: ModelSpec, pairs: int, split: str = TEST_SPLIT
) -> Iterator[str]:
    """Lines about the gold responses of a split: all of them by words, and a sample of `pairs`
    under a model. Raises DriverError for a data set that has none.
    """
    if name not in project.data_sets:
        raise DriverError(
            f"There is no data set {name!r}; there are: {', '.join(sorted(project.data_sets))}."
        )
    of_split = sample_pairs(project, name, split)
    there = [pair for pair in of_split.every if pair.key in of_split.gold]
    if not there:
        raise DriverError(
            f"{name} has no gold responses of {split} yet; run it first: stargate run {name}."
        )
    gold = summarise_gold(there, of_split.gold)
    by_key = {"|".join(pair.key): pair for pair in there}
    sample = [by_key[key] for key in draw(list(by_key), min(pairs, len(there)), "headroom")]
    scorer = project.models.open(model, Use(name, split, "headroom"))
    measured = measure_headroom(scorer, sample, of_split.gold, SHIPPED)
    yield (
        f"{name}, {split}: {len(there)} gold responses of {gold.lengths[0]} to {gold.lengths[-1]} "
        f"words, median {median(gold.lengths):.0f}; {gold.refusals} decline, {gold.copies} say "
        "nearly the same to another person"
    )
    if measured:
        gain = sum(one.gain for one in measured) / len(measured)
        share = sum(one.share for one in measured) / len(measured)
        yield (
            f"{len(measured)} of them under {model.label}: {gain:.2f} nats a token more probable "
            f"with the persona; {share:.0%} of the tokens gain {ABOUT} nats or more"
        )
        least = min(measured, key=lambda one: one.gain)
        yield (
            f"least: {least.gain:.2f}, {least.pair.persona.known_as} and {least.pair.task.text!r}"
        )
    if len(measured) < len(sample):
        yield f"{len(sample) - len(measured)} are too long for the model and were not scored"
    warnings = headroom_warnings(measured, gold)
    yield from (f"Warning: {warning}" for warning in warnings)
    if not warnings:
        yield "The controls leave room to win by asking."
