"""What a disk does to whoever writes: one sentence for the errors of Python, SQLite and DuckDB."""

import errno
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from stargate_assets.method.errors import StargateError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}
_FULL_IN_WORDS = re.compile("No space left|Disk quota exceeded|File too large|out of space", re.I)
_READ_ONLY_IN_WORDS = re.compile("Read-only file system|Permission denied|not permitted", re.I)


class DiskError(StargateError):
    """The disk is full, or cannot be written. The message says which file it was about."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """What the disk does while `path` is written, as a DiskError."""
    try:
        yield
    except (OSError, sqlite3.Error, duckdb.Error) as error:
        sentence = describe_disk_fault(error, path)
        if sentence is None:
            raise
        raise DiskError(sentence) from error


def describe_disk_fault(error: BaseException, path: Path) -> str | None:
    """One sentence if an error, or one that it came from, is of a disk that is full or cannot be
    written.
    """
    for cause in causes(error):
        named = cause.filename if isinstance(cause, OSError) else None
        place = Path(named) if isinstance(named, str) else path
        if _is_full(cause):
            return (
                f"The disk of {place} is full; free some space and run again: what was written "
                "before is kept."
            )
        if _is_read_only(cause):
            return f"{place} cannot be written; make it writable for this user, and run again."
    return None


def describe_damage(path: Path, error: duckdb.Error) -> str:
    """One sentence about a DuckDB file that is there, is not locked, and cannot be read."""
    said = str(error).splitlines()[0].rstrip(".")
    if "version" in said:
        return (
            f"{path} was written by another version of DuckDB than the {duckdb.__version__} that "
            f"is installed here ({said}); install that one."
        )
    return (
        f"{path} cannot be read ({said}); bring it back from a copy, or move it away and run "
        "again: models are not asked again."
    )


def describe_lock(path: Path, holder: duckdb.Error | str, seconds: float) -> str:
    """One sentence about a DuckDB file that its holder, whom DuckDB's error names, has kept locked
    for so long.
    """
    return f"{_locked(path, holder, seconds)}; close that program and try again."


def describe_wait(path: Path, holder: duckdb.Error, seconds: float, patience: float) -> str:
    """The same while a run waits for it, which is prepared to do so for `patience` seconds."""
    return (
        f"{_locked(path, holder, seconds)}; close that program: this run waits for it, "
        f"{patience / 60:.0f} minutes at most."
    )


def _locked(path: Path, holder: duckdb.Error | str, seconds: float) -> str:
    named = re.search(r"\S+ \(PID \d+\)|PID \d+|this process", str(holder))
    by = f" by {named.group()}" if named else ""
    return f"{path} has been locked{by} for {seconds:.0f} s"


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and those that it came from, the last first."""
    current, seen = error, set[int]()
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def _is_full(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno in _FULL
    if isinstance(error, sqlite3.Error):
        return _sqlite_name(error) == "SQLITE_FULL"
    return isinstance(error, duckdb.Error) and bool(_FULL_IN_WORDS.search(str(error)))


def _is_read_only(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno in _READ_ONLY
    if isinstance(error, sqlite3.Error):
        return _sqlite_name(error).startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN"))
    return isinstance(error, duckdb.Error) and bool(_READ_ONLY_IN_WORDS.search(str(error)))


def _sqlite_name(error: sqlite3.Error) -> str:
    return getattr(error, "sqlite_errorname", "")
