"""What the folders under `defs/` declare, validated; and what is wrong with a file, in one
sentence.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec
from pathlib import Path

import dagster as dg
import yaml
from dagster.components.core.component_tree import ComponentTreeException
from dagster.components.resolved.errors import ResolutionException
from dagster_shared.check import CheckError
from dagster_shared.error import DagsterUnresolvableSymbolError
from pydantic import ValidationError

import stargate_assets.defs
from stargate_assets.config.data_set import DataSet
from stargate_assets.config.experiment import Experiment
from stargate_assets.config.inheritance import Declared, whole
from stargate_assets.method.errors import StargateError
from stargate_assets.pipeline.components import DataSetComponent, ExperimentComponent, declared_in
from stargate_assets.storage.warehouse import RESERVED_SCHEMAS

FAULTS = (
    CheckError,
    ComponentTreeException,
    DagsterUnresolvableSymbolError,
    UnicodeDecodeError,
    ValidationError,
    yaml.MarkedYAMLError,
)
"""What Dagster raises for a defs.yaml that it cannot read."""


class ProjectError(StargateError):
    """What is declared under defs/ does not fit together. The message names what."""


@dataclass(frozen=True, slots=True)
class Declarations:
    """All data sets and experiments of a project, by name, and what the experiments state."""

    data_sets: dict[str, DataSet]
    experiments: dict[str, Experiment]
    declared: dict[str, Declared]


def declarations(folder: Path) -> Declarations:
    """What the folders in `folder` declare, or an error that names file or experiment, and
    field.
    """
    tree = component_tree(folder)
    try:
        data_sets = tree.get_all_components(DataSetComponent)
        experiments = tree.get_all_components(ExperimentComponent)
    except FAULTS:
        for path in sorted(folder.rglob("defs.yaml")):
            _check_file(path)
        raise
    check_names([component.name for component in (*data_sets, *experiments)])
    declared = declared_in(experiments)
    of_data = {component.name: component.validated() for component in data_sets}
    of_experiments = {name: whole(name, declared, of_data)[1] for name in declared}
    return Declarations(of_data, of_experiments, declared)


def check_names(names: Sequence[str]) -> None:
    """Each data set and experiment has a schema of its own in DuckDB, or this is a ProjectError."""
    for name in names:
        if names.count(name) > 1 or name in RESERVED_SCHEMAS:
            raise ProjectError(
                f"The name {name!r} is taken; give each data set and experiment under defs/ a name "
                "of its own."
            )


def component_tree(folder: Path) -> dg.ComponentTree:
    """The components that a directory declares, as those of the package of defs/."""
    package = ModuleSpec(stargate_assets.defs.__name__, None, is_package=True)
    package.submodule_search_locations = [str(folder)]
    return dg.ComponentTree.from_module(module_from_spec(package), folder.parent.parent)


def type_name(component: type[dg.Component]) -> str:
    """What a defs.yaml calls the type of a component."""
    return f"{component.__module__}.{component.__name__}"


def _check_file(path: Path) -> None:
    """Raises a ProjectError if Dagster cannot read this defs.yaml by itself."""
    try:
        component_tree(path.parent).get_all_components(dg.Component)
    except FAULTS as error:
        if (fault := _fault(error)) is not None:
            raise ProjectError(f"{path}{fault}") from error


def _fault(error: BaseException | None) -> str | None:
    """What is wrong and what to do; None where this cannot tell."""
    match error:
        case ComponentTreeException():
            return _fault(error.__cause__)
        case yaml.MarkedYAMLError(problem_mark=mark, problem=problem) if mark is not None:
            return f", line {mark.line + 1}: this is not YAML ({problem}); correct it."
        case UnicodeDecodeError():
            return " is not UTF-8; save the file as UTF-8."
        case CheckError():
            return " declares nothing; state a type and attributes, or delete its folder."
        case DagsterUnresolvableSymbolError():
            return (
                f", type: there is none such ({str(error).rstrip('.')}); an experiment has the "
                f"type {type_name(ExperimentComponent)}, and a data set "
                f"{type_name(DataSetComponent)}."
            )
        case ResolutionException():
            found = re.search(r"\^ (.+)", str(error))
            return f": a template cannot be filled in ({found[1]}); correct it." if found else None
        case ValidationError():
            first = error.errors()[0]
            loc = ".".join(map(str, first["loc"]))  # field.TYPE at FILE:LINE
            field, _, place = loc.partition(" at ")
            line = f", line {place.rpartition(':')[2]}" if place else ""
            field = field.partition(".dict[")[0]
            return f"{line}{field and ', '}{field}: {first['msg']}; correct it."
        case _:
            return None
