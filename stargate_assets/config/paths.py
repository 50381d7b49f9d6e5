"""Where the files are that a defs.yaml names."""

import os
from pathlib import Path

from stargate_assets.method.errors import DeclarationError

PROJECT_FILE = "dagster.yaml"
"""What lies in the directory of a project, and says that it is one."""


def refuse_outside(
    folder: Path, stated: Path, named_by: str, error: type[DeclarationError]
) -> None:
    """Raise the error where a path that `named_by` names climbs out of the project."""
    if _leaves_project(folder, stated):
        raise error(
            f"{named_by} {stated}, which is outside of the project; move it there, or state its "
            "absolute path."
        )


def _leaves_project(folder: Path, stated: Path) -> bool:
    """Whether a path that a defs.yaml in `folder` states climbs out of its project. One that is
    absolute is meant as it is, and so is a link.
    """
    if stated.is_absolute():
        return False
    beside = Path(os.path.normpath(folder.absolute() / stated))
    around = (folder.absolute(), *folder.absolute().parents)
    project = next((p for p in around if (p / PROJECT_FILE).exists()), None)
    return project is not None and not beside.is_relative_to(project)
