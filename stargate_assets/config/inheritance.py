"""`like: NAME`: an experiment states what differs from another."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from stargate_assets.config.experiment import Experiment, ExperimentError, validated


@dataclass(frozen=True, slots=True)
class Declared:
    """What the defs.yaml of an experiment states, and of which experiment it states it."""

    like: str | None
    fields: Mapping[str, Any]


def merged(fields: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings merge; lists and scalars replace what was there."""
    result = dict(fields)
    for key, value in over.items():
        there: Any = result.get(key)
        if isinstance(there, Mapping) and isinstance(value, Mapping):
            result[key] = merged(there, value)
        else:
            result[key] = value
    return result


def whole(
    name: str,
    declared: Mapping[str, Declared],
    data_sets: Collection[str],
    below: tuple[str, ...] = (),
) -> tuple[dict[str, Any], Experiment]:
    """All fields of an experiment, its own and those of whom it is like, and what they come to.

    Each experiment on the way is validated, so that a fault is told of the one that states it.
    `below` are those that are like this one.
    """
    stated = declared[name]
    inherited: dict[str, Any] = {}
    if stated.like is not None:
        _check(name, stated.like, declared, data_sets, (*below, name))
        inherited, _ = whole(stated.like, declared, data_sets, (*below, name))
    fields = merged(inherited, stated.fields)
    return fields, validated(name, fields)


def _check(
    name: str,
    like: str,
    declared: Mapping[str, Declared],
    data_sets: Collection[str],
    chain: tuple[str, ...],
) -> None:
    if like in chain:
        circle = " is like ".join((*chain[chain.index(like) :], like))
        raise ExperimentError(
            f"The experiment {circle}, which is a circle; state one of them without `like`."
        )
    if like not in declared:
        fault = "is a data set" if like in data_sets else "is not declared"
        others = ", ".join(sorted(set(declared) - {name}))
        raise ExperimentError(
            f"The experiment {name} is like {like!r}, which {fault}; `like` takes an experiment, "
            f"and there are: {others}."
        )
