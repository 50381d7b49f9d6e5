"""The two building blocks of a project: a data set and an experiment, each a folder with a
defs.yaml.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import dagster as dg
from pydantic import Field

from stargate_assets.config.data_set import DataSet, check_data_set, validated_data_set
from stargate_assets.config.experiment import Experiment
from stargate_assets.config.inheritance import Declared, whole
from stargate_assets.pipeline.assets.checks import grid_checks
from stargate_assets.pipeline.assets.data_checks import data_set_checks
from stargate_assets.pipeline.assets.data_set import data_set_assets
from stargate_assets.pipeline.assets.evaluation import report_asset
from stargate_assets.pipeline.assets.evaluation_checks import evaluation_checks
from stargate_assets.pipeline.assets.grid import iteration_partitions
from stargate_assets.pipeline.assets.iteration import iteration_assets
from stargate_assets.pipeline.assets.judging import judging_assets
from stargate_assets.pipeline.assets.responses import responses_asset
from stargate_assets.pipeline.assets.training import training_assets
from stargate_assets.pipeline.assets.versions import data_versions
from stargate_assets.pipeline.jobs import data_set_job, experiment_jobs, walk_sensor
from stargate_assets.pipeline.sources.tables import reader


@dataclass(frozen=True)
class Stated:
    """What a defs.yaml states, and the folder that its relative paths start from."""

    fields: dict[str, Any]
    directory: Path

    @staticmethod
    def resolve(context: dg.ResolutionContext, fields: dict[str, Any]) -> "Stated":
        return Stated(fields, context.resolve_source_relative_path("."))


class DataSetComponent(dg.Component, dg.Model, dg.Resolvable):
    """Tasks, personas and gold responses: from files, from the Hub, or by models."""

    name: str = Field(description="Key prefix of the assets and schema in DuckDB.")
    data_set: Annotated[Stated, dg.Resolver(Stated.resolve, model_field_type=dict[str, Any])] = (
        Field(description="Fields of `data_set.DataSet`.")
    )

    def validated(self) -> DataSet:
        """The data set, or a DataError that names the field."""
        return validated_data_set(self.name, self.data_set.fields, self.data_set.directory)

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        return data_set_definitions(self.name, self.validated())


class ExperimentComponent(dg.Component, dg.Model, dg.Resolvable):
    """One run of STaR-GATE; `experiment` states what differs from the paper."""

    name: str = Field(description="Key prefix of the assets, group, and schema in DuckDB.")
    like: str | None = Field(
        default=None, description="Another experiment, whose fields apply unless stated here."
    )
    experiment: dict[str, Any] = Field(
        default_factory=dict, description="Fields of `experiment.Experiment`."
    )

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        tree = context.component_tree
        declared = declared_in(tree.get_all_components(ExperimentComponent))
        components = tree.get_all_components(DataSetComponent)
        data_sets = {component.name: component.validated() for component in components}
        experiment = whole(self.name, declared, data_sets)[1]
        check_data_set(self.name, experiment, data_sets)
        return experiment_definitions(self.name, experiment, data_sets[experiment.data_set])


def declared_in(components: Iterable[ExperimentComponent]) -> dict[str, Declared]:
    """What each experiment states, by name."""
    return {c.name: Declared(c.like, c.experiment) for c in components}


def data_set_definitions(name: str, data_set: DataSet) -> dg.Definitions:
    read = reader(name, data_set)
    return dg.Definitions(
        assets=data_set_assets(name, data_set, read),
        asset_checks=data_set_checks(name, data_set, read),
        jobs=[data_set_job(name)],
    )


def experiment_definitions(name: str, experiment: Experiment, data_set: DataSet) -> dg.Definitions:
    """The assets, checks, jobs and sensor of an experiment on a data set."""
    oracle = data_set.oracle.model if data_set.oracle else None
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
    judge, jobs = experiment.judge, experiment_jobs(name, experiment)
    return dg.Definitions(
        assets=[
            policy,
            *iteration_assets(name, experiment),
            *training_assets(name, experiment),
            responses_asset(name, experiment),
            *(judging_assets(name, experiment, judge) if judge else ()),
            report_asset(name, experiment),
        ],
        asset_checks=[
            *grid_checks(name, experiment),
            *evaluation_checks(name, experiment, oracle),
        ],
        jobs=jobs,
        sensors=[walk_sensor(name, experiment, data_versions(data_set), jobs)],
    )
