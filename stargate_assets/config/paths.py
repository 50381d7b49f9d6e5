"""Where the files are that a defs.yaml names."""

import os
from pathlib import Path

PROJECT_FILE = "dagster.yaml"
"""What lies in the directory of a project, and says that it is one."""


def leaves_project(folder: Path, stated: Path) -> bool:
    """Whether a path that a defs.yaml in `folder` states climbs out of its project. One that is
    absolute is meant as it is, and so is a link.
    """
    if stated.is_absolute():
        return False
    beside = Path(os.path.normpath(folder.absolute() / stated))
    around = (folder.absolute(), *folder.absolute().parents)
    project = next((p for p in around if (p / PROJECT_FILE).exists()), None)
    return project is not None and not beside.is_relative_to(project)
