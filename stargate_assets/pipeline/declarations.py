"""What the files under `defs/` declare, validated; and what is wrong with a file, in one
sentence.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec
from pathlib import Path

import dagster as dg
import yaml
from dagster.components.core.component_tree import ComponentTreeException
from dagster.components.core.defs_module import ComponentPath
from dagster.components.resolved.errors import ResolutionException
from dagster_shared.check import CheckError
from dagster_shared.error import DagsterUnresolvableSymbolError
from pydantic import ValidationError

import stargate_assets.defs
from stargate_assets.config.data_set import DataSet
from stargate_assets.config.evaluation_set import EvaluationSet
from stargate_assets.config.experiment import Experiment
from stargate_assets.config.inheritance import ExperimentDeclaration, resolve_experiment
from stargate_assets.method.errors import DeclarationError
from stargate_assets.pipeline.components import (
    DataSetComponent,
    EvaluationComponent,
    ExperimentComponent,
    experiment_declarations,
)
from stargate_assets.storage.warehouse import RESERVED_SCHEMAS

MAIN, ABLATIONS = "stargate_assets", "ablations"
"""The code locations of workspace.yaml. What is below the folder `ABLATIONS` of defs/ is in the
second, all else in the first.
"""
Declared = DataSetComponent | ExperimentComponent | EvaluationComponent
FAULTS = (
    CheckError,
    ComponentTreeException,
    DagsterUnresolvableSymbolError,
    ValueError,  # of a type that is no name; UnicodeDecodeError and ValidationError are such too
    dg.DagsterInvalidDefinitionError,
    yaml.MarkedYAMLError,
)
"""What Dagster raises for a defs.yaml that it cannot read."""


class ProjectError(DeclarationError):
    """What is declared under defs/ does not fit together. The message names what."""


@dataclass(frozen=True, slots=True)
class Declarations:
    """All data sets, experiments and external evaluations of a project, by name; and what a
    defs.yaml states of each experiment.
    """

    data_sets: dict[str, DataSet]
    experiments: dict[str, Experiment]
    stated: dict[str, ExperimentDeclaration]
    locations: dict[str, str]
    """The code location of each name."""
    evaluation_sets: dict[str, EvaluationSet]


def load_declarations(folder: Path) -> Declarations:
    """What the files below `folder` declare, or a StargateError that names file or experiment, and
    field.
    """
    try:
        components = list(_components(folder))
    except FAULTS:
        for path in sorted(folder.rglob("defs.yaml")):
            _check_file(path)
        raise
    check_names([component.name for component, _ in components])
    stated = experiment_declarations(c for c, _ in components if isinstance(c, ExperimentComponent))
    data_sets = {
        c.name: c.validate_fields() for c, _ in components if isinstance(c, DataSetComponent)
    }
    experiments = {name: resolve_experiment(name, stated, data_sets) for name in stated}
    locations = {component.name: location for component, location in components}
    evaluation_sets = {
        c.name: c.validate_fields() for c, _ in components if isinstance(c, EvaluationComponent)
    }
    return Declarations(data_sets, experiments, stated, locations, evaluation_sets)


def _components(folder: Path) -> Iterator[tuple[Declared, str]]:
    """Each component below a folder, with its code location."""
    if next(folder.rglob("defs.yaml"), None) is None:
        return
    tree, ablations = component_tree(folder), folder / ABLATIONS
    for place, declaration in tree.find_root_decl().iterate_loc_component_decl_pairs():
        if not issubclass(declaration.component_type, Declared):
            continue
        component = tree.load_component(place)
        assert isinstance(component, Declared)
        assert isinstance(place, ComponentPath)
        below = place.file_path.is_relative_to(ablations)
        yield component, ABLATIONS if below else MAIN


def check_names(names: Sequence[str]) -> None:
    """Each data set, experiment and evaluation has a name of its own, which a schema in DuckDB may
    have, or this is a ProjectError.
    """
    for name in names:
        if names.count(name) > 1 or name in RESERVED_SCHEMAS:
            raise ProjectError(
                f"The name {name!r} is taken; give each data set, experiment and evaluation "
                "under defs/ a name of its own."
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
        if (fault := _fault(error, path)) is not None:
            raise ProjectError(f"{path}{fault}") from error


def _fault(error: BaseException | None, path: Path) -> str | None:
    """What is wrong with a file, in which line, and what to do; None where this cannot tell."""
    match error:
        case ComponentTreeException():
            return _fault(error.__cause__, path)
        case yaml.MarkedYAMLError(problem_mark=mark, problem=problem) if mark is not None:
            return f", line {mark.line + 1}: this is not YAML ({problem}); correct it."
        case UnicodeDecodeError():
            return " is not UTF-8; save the file as UTF-8."
        case CheckError():
            return " declares nothing; state a type and attributes, or delete the file."
        case ResolutionException():
            found = re.search(r":(\d+) - .*\^ ([^\n]+)", str(error), re.DOTALL)
            if found is None:
                return None
            return f", line {found[1]}: a template cannot be filled in ({found[2]}); correct it."
        case ValidationError():
            first = error.errors()[0]
            loc = ".".join(map(str, first["loc"]))  # field.TYPE at FILE:LINE
            field, _, place = loc.partition(" at ")
            line = f", line {place.rpartition(':')[2]}" if place else ""
            field = field.partition(".dict[")[0]
            return f"{line}{field and ', '}{field}: {first['msg']}; correct it."
        case DagsterUnresolvableSymbolError() | dg.DagsterInvalidDefinitionError() | ValueError():
            complaint = " ".join(str(error).split()).rstrip(".")
            line = _line_of_type(complaint, path)
            return (
                None
                if line is None
                else (
                    f", line {line}, type: there is none such ({complaint}); an experiment has the "
                    f"type {type_name(ExperimentComponent)}, and a data set "
                    f"{type_name(DataSetComponent)}."
                )
            )
        case _:
            return None


def _line_of_type(complaint: str, path: Path) -> int | None:
    """Where a file states the type of which Dagster complains by its name, or by its module and the
    attribute that this lacks; None if it complains of something else.
    """
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        found = re.match(r"type:\s*['\"]?([\w.]+)", text)
        if found is None:
            continue
        module, _, name = found[1].rpartition(".")
        in_module = f"`{module}`" in complaint
        if (
            f"`{found[1]}`" in complaint
            or f" {found[1]} " in complaint
            or (in_module and (f"`{name}`" in complaint or "has no attribute" not in complaint))
        ):
            return number
    return None
