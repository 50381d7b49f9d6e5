"""`like: NAME`: an experiment states only what differs from another."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from stargate_assets.config.experiment import Experiment, ExperimentError, validate_experiment


@dataclass(frozen=True, slots=True)
class ExperimentDeclaration:
    """What a defs.yaml states of an experiment: which other one it is like, and its own fields."""

    like: str | None
    fields: Mapping[str, Any]


def merge_fields(inherited: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Both: mappings merge; an own list or scalar replaces what is inherited."""
    result = dict(inherited)
    for key, value in own.items():
        old: Any = result.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            result[key] = merge_fields(old, value)
        else:
            result[key] = value
    return result


def resolve_experiment(
    name: str, declarations: Mapping[str, ExperimentDeclaration], data_sets: Collection[str]
) -> Experiment:
    """An experiment with its own fields and those of all that it is like.

    Each experiment on the way is validated, so that an ExperimentError names the one that states
    the fault. `data_sets` are names, for the message where `like` names one of them.
    """
    return validate_experiment(name, _resolve_fields(name, declarations, data_sets, ()))


def _resolve_fields(
    name: str,
    declarations: Mapping[str, ExperimentDeclaration],
    data_sets: Collection[str],
    heirs: tuple[str, ...],
) -> dict[str, Any]:
    """All fields of an experiment; `heirs` are those that inherit from it, the nearest one last."""
    declaration = declarations[name]
    if declaration.like is None:
        return dict(declaration.fields)
    chain = (*heirs, name)
    _check_like(declaration.like, declarations, data_sets, chain)
    inherited = _resolve_fields(declaration.like, declarations, data_sets, chain)
    validate_experiment(declaration.like, inherited)
    return merge_fields(inherited, declaration.fields)


def _check_like(
    like: str,
    declarations: Mapping[str, ExperimentDeclaration],
    data_sets: Collection[str],
    chain: tuple[str, ...],
) -> None:
    """There is such an experiment and it is not in `chain`, or this is an ExperimentError."""
    if like in chain:
        circle = " is like ".join((*chain[chain.index(like) :], like))
        raise ExperimentError(
            f"The experiment {circle}, which is a circle; state one of them without `like`."
        )
    if like not in declarations:
        name = chain[-1]
        fault = "is a data set" if like in data_sets else "is not declared"
        others = ", ".join(sorted(set(declarations) - {name}))
        raise ExperimentError(
            f"The experiment {name} is like {like!r}, which {fault}; `like` takes an experiment, "
            f"and there are: {others}."
        )
