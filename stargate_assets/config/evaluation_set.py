"""Where the items of an external evaluation come from: what a defs.yaml states under
`evaluation_set`.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, PositiveInt, ValidationError, model_validator

from stargate_assets.config.data_set import DataError, HubDataSet
from stargate_assets.config.experiment import Experiment, ExperimentError
from stargate_assets.config.model_spec import Frozen, first_fault, one_of
from stargate_assets.config.paths import refuse_outside
from stargate_assets.method.evaluations import EVALUATIONS
from stargate_assets.method.plan import SPLITS


class EvaluationSet(Frozen):
    """The publisher's records as they are, from a file or from the Hub. Nothing is trained on
    them.
    """

    kind: Annotated[str, one_of(EVALUATIONS)] = Field(
        description="; ".join(f"{name}: {kind.description}" for name, kind in EVALUATIONS.items())
    )
    file: Path | None = Field(default=None, description="JSON, JSON lines or Parquet, also packed.")
    hub: HubDataSet | None = None
    limit: PositiveInt | None = Field(
        default=None, description="At most this many items, drawn by their ids."
    )

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.file is None) == (self.hub is None):
            raise ValueError("needs either a file or a hub data set")
        return self


def validate_evaluation_set(name: str, stated: Mapping[str, Any], directory: Path) -> EvaluationSet:
    """The evaluation that a defs.yaml states, or a DataError for the first field that is wrong. A
    relative file starts from `directory`, the defs.yaml's own.
    """
    try:
        found = EvaluationSet.model_validate(stated)
    except ValidationError as error:
        raise DataError(
            f"The evaluation {name} is not valid: {first_fault(error)}; correct its defs.yaml."
        ) from error
    if name in SPLITS or "|" in name:
        raise DataError(
            f"An evaluation cannot be called {name!r}, because its cells are named after it as "
            "others are after their split; give it another name in its defs.yaml."
        )
    if found.file is None:
        return found
    refuse_outside(directory, found.file, f"The evaluation {name} names the file", DataError)
    return found.model_copy(update={"file": (directory / found.file).resolve()})


def check_evaluations(name: str, experiment: Experiment, declared: Collection[str]) -> None:
    """The evaluations that an experiment names are declared, or this is an ExperimentError."""
    for evaluation in experiment.evaluations:
        if evaluation not in declared:
            there = ", ".join(sorted(declared)) or "none; docs/evaluations.md says how to add one"
            raise ExperimentError(
                f"The experiment {name} names the evaluation {evaluation!r}, which is not "
                f"declared; there are: {there}."
            )
