"""What Dagster loads as the code location ablations."""

import dagster as dg

from stargate_assets.definitions.project import load_project, project_definitions
from stargate_assets.pipeline.declarations import ABLATIONS


@dg.definitions
def defs() -> dg.Definitions:
    """What is declared under defs/ablations/."""
    return project_definitions(load_project(), ABLATIONS)
