"""The building blocks of a project: a data set, an experiment and an external evaluation, each a
document of a defs.yaml.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import dagster as dg
from pydantic import Field

from stargate_assets.config.data_set import DataSet, check_data_set, validate_data_set
from stargate_assets.config.evaluation_set import (
    EvaluationSet,
    check_evaluations,
    validate_evaluation_set,
)
from stargate_assets.config.experiment import Experiment
from stargate_assets.config.inheritance import ExperimentDeclaration, resolve_experiment
from stargate_assets.config.prompts import change_prompts, read_prompts
from stargate_assets.pipeline.assets.checks import grid_checks
from stargate_assets.pipeline.assets.data_checks import data_set_checks
from stargate_assets.pipeline.assets.data_set import data_set_assets
from stargate_assets.pipeline.assets.evaluation import report_asset
from stargate_assets.pipeline.assets.evaluation_checks import evaluation_checks
from stargate_assets.pipeline.assets.evaluation_sets import Sets, evaluation_asset, training_check
from stargate_assets.pipeline.assets.grid import iteration_partitions, split_partitions
from stargate_assets.pipeline.assets.iteration import iteration_assets
from stargate_assets.pipeline.assets.judging import judging_assets
from stargate_assets.pipeline.assets.outputs import column_schema
from stargate_assets.pipeline.assets.responses import response_assets
from stargate_assets.pipeline.assets.training import training_assets
from stargate_assets.pipeline.jobs import data_set_job, experiment_jobs, walk_sensor
from stargate_assets.pipeline.sources.tables import reader


@dataclass(frozen=True)
class StatedFields:
    """What a defs.yaml states of a data set or an experiment, and the folder that its relative
    paths start from.
    """

    fields: dict[str, Any] = field(default_factory=dict[str, Any])
    folder: Path = Path()

    @staticmethod
    def resolve(context: dg.ResolutionContext, fields: dict[str, Any]) -> "StatedFields":
        """What is stated, with Dagster's own templates filled in, but for prompts, whose templates
        are filled in later and with other values.
        """
        stated: dict[tuple[str, ...], object] = {}

        def take_out(prompt: object, template: str, place: tuple[str, ...]) -> object:
            stated[place] = prompt
            return None

        filled = dict(context.resolve_value(change_prompts(fields, take_out)))
        filled = change_prompts(filled, lambda none, template, place: stated[place])
        return StatedFields(filled, context.resolve_source_relative_path("."))

    def with_prompts(self) -> dict[str, Any]:
        """The fields, with prompts as texts. Raises PromptError."""
        return read_prompts(self.fields, self.folder / "defs.yaml")


Stated = Annotated[StatedFields, dg.Resolver(StatedFields.resolve, model_field_type=dict[str, Any])]


class DataSetComponent(dg.Component, dg.Model, dg.Resolvable):
    """Tasks, personas and gold responses: from files, from the Hub, or by models."""

    name: str = Field(description="Key prefix of the assets and schema in DuckDB.")
    data_set: Stated = Field(description="Fields of `config.data_set.DataSet`.")

    def validate_fields(self) -> DataSet:
        """The data set, or a DataError that names the field."""
        stated = self.data_set
        return validate_data_set(self.name, stated.with_prompts(), stated.folder)

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        return data_set_definitions(self.name, self.validate_fields())


class EvaluationComponent(dg.Component, dg.Model, dg.Resolvable):
    """An external evaluation, which experiments may name. It has no assets of its own: its outcomes
    are an experiment's.
    """

    name: str = Field(description="What experiments, cells and the option --on call it.")
    evaluation_set: Stated = Field(description="Fields of `config.evaluation_set.EvaluationSet`.")

    def validate_fields(self) -> EvaluationSet:
        """The evaluation, or a DataError that names the field."""
        stated = self.evaluation_set
        return validate_evaluation_set(self.name, stated.fields, stated.folder)

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        self.validate_fields()
        return dg.Definitions()


class ExperimentComponent(dg.Component, dg.Model, dg.Resolvable):
    """One run of STaR-GATE; `experiment` states what differs from the paper."""

    name: str = Field(description="Key prefix of the assets, group, and schema in DuckDB.")
    like: str | None = Field(
        default=None, description="Another experiment, whose fields apply unless stated here."
    )
    experiment: Stated = Field(
        default=StatedFields(), description="Fields of `config.experiment.Experiment`."
    )

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        tree = context.component_tree
        declarations = experiment_declarations(tree.get_all_components(ExperimentComponent))
        data_sets = {
            component.name: component.validate_fields()
            for component in tree.get_all_components(DataSetComponent)
        }
        experiment = resolve_experiment(self.name, declarations, data_sets)
        check_data_set(self.name, experiment, data_sets)
        evaluation_sets = {
            component.name: component.validate_fields()
            for component in tree.get_all_components(EvaluationComponent)
        }
        check_evaluations(self.name, experiment, evaluation_sets)
        return experiment_definitions(
            self.name, experiment, data_sets[experiment.data_set], evaluation_sets
        )


def experiment_declarations(
    components: Iterable[ExperimentComponent],
) -> dict[str, ExperimentDeclaration]:
    """What each experiment states, by name. Raises PromptError."""
    return {c.name: ExperimentDeclaration(c.like, c.experiment.with_prompts()) for c in components}


def data_set_definitions(name: str, data_set: DataSet) -> dg.Definitions:
    """The assets, checks and job of a data set."""
    read = reader(name, data_set)
    return dg.Definitions(
        assets=data_set_assets(name, data_set, read),
        asset_checks=data_set_checks(name, data_set, read),
        jobs=[data_set_job(name, data_set.tables)],
    )


def external_data_set(name: str, data_set: DataSet, location: str) -> dg.Definitions:
    """The tables of a data set that another code location makes; read from the same warehouse."""
    specs = [
        dg.AssetSpec(
            key=[name, table],
            group_name=name,
            partitions_def=split_partitions,
            kinds={"duckdb"},
            description=f"Made by the code location {location}.",
            metadata={"dagster/column_schema": column_schema(table)},
        ).with_io_manager_key("io_manager")
        for table in data_set.tables
    ]
    return dg.Definitions(assets=specs)


def experiment_definitions(
    name: str,
    experiment: Experiment,
    data_set: DataSet,
    evaluation_sets: Sets,
    data_location: str | None = None,
) -> dg.Definitions:
    """The assets, checks, jobs and sensor of an experiment; `evaluation_sets` has at least those
    that it names. `data_location` is the code location that makes its data set, if it is another.
    """
    policy = dg.AssetSpec(
        key=[name, "policy"],
        group_name=name,
        partitions_def=iteration_partitions(experiment),
        kinds={"peft"},
        description=(
            "The questioner i: 0 is the base model, i + 1 is reported by the checkpoint of cell "
            "(i, s(i)). External, because "
            "an edge from checkpoints back to conversations would be a cycle."
        ),
    )
    jobs = experiment_jobs(name, experiment)
    oracle = data_set.oracle.model if data_set.oracle else None
    return dg.Definitions(
        assets=[
            policy,
            *iteration_assets(name, experiment),
            *training_assets(name, experiment),
            *response_assets(name, experiment),
            *judging_assets(name, experiment),
            report_asset(name, experiment),
            *(
                [evaluation_asset(name, experiment, evaluation_sets)]
                if experiment.evaluations
                else []
            ),
        ],
        asset_checks=[
            *grid_checks(name, experiment),
            *evaluation_checks(name, experiment, oracle),
            *([training_check(name, experiment)] if experiment.evaluations else []),
        ],
        jobs=jobs,
        sensors=[walk_sensor(name, experiment, jobs, data_set, evaluation_sets, data_location)],
    )
