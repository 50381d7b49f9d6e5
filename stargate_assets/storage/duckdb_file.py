"""A DuckDB file, open for milliseconds at a time.

DuckDB has one writer process or many readers, so nobody holds a file while a model works. To start
DuckDB takes far longer than to attach a file to it: a process starts it once for each file.
"""

import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from threading import Lock

import duckdb

from stargate_assets.method.errors import StargateError
from stargate_assets.storage.disk import (
    describe_damage,
    describe_disk_fault,
    describe_lock,
    describe_wait,
    writing,
)
from stargate_assets.storage.views import quote_name, quote_text

TELLING_SECONDS = 10.0
"""So long a file has been locked when this is first said."""
_LOCKED = re.compile("Could not set lock|Conflicting lock|Unique file handle conflict", re.I)
_CORRUPT = re.compile("Corrupt database file|database has been invalidated", re.I)


class WarehouseError(StargateError):
    """A table cannot be read or written. The message says why and what to do."""


def ignore(sentence: str) -> None:
    del sentence


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a file that somebody else has locked is waited for, in seconds, and who is told."""

    seconds: float
    say: Callable[[str], None] = ignore


@dataclass(frozen=True, slots=True)
class _Instance:
    """DuckDB without a file of its own; `attached` is held by who has attached one."""

    root: duckdb.DuckDBPyConnection = field(default_factory=lambda: duckdb.connect(":memory:"))
    attached: Lock = field(default_factory=Lock)


_STARTING = Lock()


@lru_cache(maxsize=8)
def _instance(path: Path) -> _Instance:
    """One for each file: what ends an instance ends no other's."""
    del path
    return _Instance()


@contextmanager
def open_duckdb(
    path: Path, patience: Patience, *, read_only: bool
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection for one short piece of work, whose catalog is the file's. If another process or
    thread has the file, wait, and raise WarehouseError at the end of `patience`. What is not
    committed at the end is as if it had not been.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with _STARTING:
            instance = _instance(path.absolute())
        if not instance.attached.acquire(timeout=patience.seconds):
            raise WarehouseError(describe_lock(path, "this process", patience.seconds))
        try:
            with _attach(instance, path, read_only, patience) as connection:
                yield connection
        except duckdb.Error as error:
            if isinstance(error, duckdb.FatalException) or _CORRUPT.search(str(error)):
                _instance.cache_clear()
                raise WarehouseError(describe_damage(path, error)) from error
            raise
        finally:
            instance.attached.release()


@contextmanager
def _attach(
    instance: _Instance, path: Path, read_only: bool, patience: Patience
) -> Iterator[duckdb.DuckDBPyConnection]:
    name = quote_name(path.stem)
    mode = " (READ_ONLY)" if read_only else ""
    started, telling = time.monotonic(), TELLING_SECONDS
    while True:
        try:
            instance.root.execute(f"ATTACH {quote_text(str(path))} AS {name}{mode}")
            break
        except duckdb.Error as error:
            if not _LOCKED.search(str(error)):
                if describe_disk_fault(error, path):
                    raise
                raise WarehouseError(describe_damage(path, error)) from error
            waited = time.monotonic() - started
            if waited > patience.seconds:
                raise WarehouseError(describe_lock(path, error, patience.seconds)) from error
            if waited > telling:
                patience.say(describe_wait(path, error, waited, patience.seconds))
                telling *= 2
            time.sleep(random.uniform(0.02, 0.2))
    try:
        with instance.root.cursor() as connection:
            connection.execute(f"USE {name}")
            yield connection
    finally:
        with suppress(duckdb.FatalException):  # of an instance that has ended already
            instance.root.execute(f"DETACH {name}")
