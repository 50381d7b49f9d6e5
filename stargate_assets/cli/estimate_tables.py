"""What `stargate estimate` shows."""

from collections.abc import Iterable, Mapping, Sequence

from rich.markup import escape
from rich.table import Table

from stargate_assets.cli.estimate.counting_model import EstimatedCalls
from stargate_assets.cli.terminal import console
from stargate_assets.config.machine import Machine

ESTIMATED = ("calls", "on disk", "prompt tokens", "tokens written", "dollars", "hours here")


def print_estimate(experiment: str, estimates: Sequence[EstimatedCalls], machine: Machine) -> None:
    """A row for each role in each slice, sums by model, and what the figures rest on."""
    table = Table(title=f"{experiment}: what is still to be asked")
    for column in ("cell", "role", "kind"):
        table.add_column(column)
    for column in ESTIMATED:
        table.add_column(column, justify="right")
    for e in estimates:
        table.add_row(
            e.slice, e.role, e.kind, *_format_counts([e]), *_format_costs(e.dollars, e.seconds)
        )
    console.print(table)
    for asked in dict.fromkeys((e.model, e.in_batches) for e in estimates):
        of_one = [e for e in estimates if (e.model, e.in_batches) == asked]
        console.print(escape(_describe_model(of_one, machine)))


def print_estimates(found: Mapping[str, Sequence[EstimatedCalls]]) -> None:
    """A row for each experiment, and their sum."""
    table = Table(
        title="What is still to be asked",
        caption="on disk: there already, or asked by an experiment above",
    )
    table.add_column("experiment")
    for column in ESTIMATED:
        table.add_column(column, justify="right")
    everything = [e for of_one in found.values() for e in of_one]
    for number, (name, of_one) in enumerate((*found.items(), ("all", everything)), 1):
        made = [e for e in of_one if e.calls > e.stored]
        dollars, seconds = _sum_known(e.dollars for e in made), _sum_known(e.seconds for e in made)
        last = number == len(found)
        table.add_row(
            name, *_format_counts(of_one), *_format_costs(dollars, seconds), end_section=last
        )
    console.print(table)


def _format_counts(estimates: Sequence[EstimatedCalls]) -> list[str]:
    """Calls, those on disk, tokens read and tokens written."""
    written = sum(e.completion_tokens for e in estimates if e.kind == "chat")
    read = sum(e.prompt_tokens + e.completion_tokens for e in estimates) - written
    calls, stored = sum(e.calls for e in estimates), sum(e.stored for e in estimates)
    return [f"{number:,}" for number in (calls, stored, read, written)]


def _format_costs(dollars: float | None, seconds: float | None) -> list[str]:
    """Dollars and hours."""
    return [_format_known(dollars, ",.2f"), _format_known(seconds and seconds / 3600, ",.2f")]


def _sum_known(values: Iterable[float | None]) -> float | None:
    """None if any is unknown."""
    known = list(values)
    return None if None in known else sum(v for v in known if v is not None)


def _describe_model(estimates: Sequence[EstimatedCalls], machine: Machine) -> str:
    """What a model is asked in all, and what that rests on."""
    first = estimates[0]
    made = sum(e.calls - e.stored for e in estimates)
    parts = [f"{first.model}: {made:,} calls"]
    if any(e.dollars is None for e in estimates):
        parts.append("price unknown, state it in machine.yaml")
    elif dollars := sum(e.dollars or 0 for e in estimates):
        parts.append(f"{dollars:,.2f} dollars at {_describe_price(first, machine)}")
    seconds = [e.seconds for e in estimates if e.calls > e.stored and not e.in_batches]
    if first.in_batches:
        parts.append("in batches, each of which may take a day")
    if seconds and None not in seconds:
        parts.append(f"{sum(s or 0 for s in seconds) / 3600:,.2f} hours at the speed measured here")
    elif seconds:
        parts.append("speed not measured here yet")
    limits = sorted({e.role for e in estimates if not e.measured})
    if limits:
        parts.append(f"completions of {', '.join(limits)} counted at their limit")
    parts.append(f"tokens counted with the tokenizer of {first.tokenizer}")
    return "; ".join(parts) + "."


def _describe_price(asked: EstimatedCalls, machine: Machine) -> str:
    """What a million tokens of a model cost, as they are asked."""
    stated = next(p for p in machine.prices if asked.model == p.label)
    price = stated.in_batches if asked.in_batches else stated
    said = (
        f"{price.prompt:g} and {price.completion:g} a million tokens (prompt, completion; as of "
        f"{price.as_of})"
    )
    if asked.in_batches and stated.batch is None:
        said += ", at most: its price in machine.yaml does not state batch"
    return said


def _format_known(value: float | None, digits: str) -> str:
    return "?" if value is None else f"{value:{digits}}"
