"""What the errors of a disk are called, whoever raises them."""

import errno
import os
import sqlite3
from pathlib import Path

import duckdb
import pytest

from stargate_assets.storage.disk import DiskError, describe_disk_fault, writing

FILE = Path("warehouse/file")


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (errno.ENOSPC, "disk of here/it is full"),
        (errno.EDQUOT, "disk of here/it is full"),
        (errno.EROFS, "here/it cannot be written"),
        (errno.EACCES, "here/it cannot be written"),
    ],
)
def test_errors_of_files_name_the_file(number: int, sentence: str) -> None:
    error = OSError(number, os.strerror(number), "here/it")
    with pytest.raises(DiskError, match=sentence), writing(FILE):
        raise error
    later = RuntimeError("something else")
    later.__context__ = error
    assert describe_disk_fault(later, FILE) == describe_disk_fault(error, FILE)


def test_other_errors_pass() -> None:
    for error in (FileNotFoundError(errno.ENOENT, "no"), duckdb.BinderException("no column")):
        assert describe_disk_fault(error, FILE) is None
        with pytest.raises(type(error)), writing(FILE):
            raise error


def test_a_full_sqlite_and_a_read_only_one(tmp_path: Path) -> None:
    file = tmp_path / "a.sqlite"
    connection = sqlite3.connect(file)
    connection.execute("CREATE TABLE t (text)")
    connection.execute("PRAGMA max_page_count = 2")
    with pytest.raises(DiskError, match=f"disk of {file} is full"), writing(file):
        connection.execute("INSERT INTO t VALUES (?)", ["x" * 9999])
    connection.close()
    reader = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
    with pytest.raises(DiskError, match=f"{file} cannot be written"), writing(file):
        reader.execute("INSERT INTO t VALUES (1)")
    reader.close()
