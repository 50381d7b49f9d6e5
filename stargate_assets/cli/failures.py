"""Whatever goes wrong as one sentence, and its trace in a file."""

import tempfile
import traceback
from datetime import UTC, datetime
from pathlib import Path

from stargate_assets.method.errors import DeclarationError, StargateError

FILE = "failures.log"


def describe_failure(error: Exception) -> str:
    """One sentence, and where the trace is, unless what people have written is wrong."""
    if not isinstance(error, StargateError):
        kind, said = type(error).__name__, " ".join(str(error).split())
        where = _keep_trace(error)
        return f"An unexpected {kind}: {said}. The trace is in {where}; please report it."
    cause = error.__cause__
    if isinstance(error, DeclarationError) or cause is None or isinstance(cause, StargateError):
        return str(error)
    return f"{error}\nThe trace is in {_keep_trace(error)}."


def _keep_trace(error: Exception) -> Path:
    """Append the trace to the project's file, or to another where none can be written here."""
    from stargate_assets.definitions.project import WAREHOUSE

    lines = [f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC\n", *traceback.format_exception(error)]
    for directory in (WAREHOUSE / "logs", Path(tempfile.gettempdir())):
        try:
            if directory.parent.is_dir():
                directory.mkdir(exist_ok=True)
                with (directory / FILE).open("a", encoding="utf-8", errors="backslashreplace") as f:
                    f.writelines([*lines, "\n"])
                return directory / FILE
        except OSError:
            continue
    raise error
