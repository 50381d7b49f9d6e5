"""What Dagster loads as the code location stargate_assets: data sets, the method and the user's own
experiments. The ablations are a code location of their own, so that this one stays small.
"""

import dagster as dg

from stargate_assets.definitions.project import load_project, project_definitions
from stargate_assets.pipeline.declarations import MAIN


@dg.definitions
def defs() -> dg.Definitions:
    """What is declared under defs/, but for defs/ablations/."""
    return project_definitions(load_project(), MAIN)
