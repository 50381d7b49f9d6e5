"""What Dagster loads: the code locations of workspace.yaml."""

import dagster as dg

from stargate_assets.definitions.project import load_project


@dg.definitions
def defs() -> dg.Definitions:
    """The user's own experiments, and those that come with the project."""
    return load_project().definitions
