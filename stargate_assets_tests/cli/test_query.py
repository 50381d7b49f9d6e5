"""`stargate sql` on real DuckDB files: what people type, every type, pipes and files."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner, Result

from stargate_assets.cli.main import main
from stargate_assets_tests.conftest import ENVIRONMENT

EVERY_TYPE = "SELECT * EXCLUDE (empty_struct) FROM test_all_types()"


@pytest.fixture(autouse=True)
def warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "warehouse" / "stargate.duckdb"
    path.parent.mkdir()
    duckdb.connect(str(path)).close()
    return path


def ask(*words: str) -> Result:
    return CliRunner().invoke(main, ("sql", *words))


def cells(*words: str) -> list[list[str]]:
    """The cells of the tables that are printed, headings included."""
    result = ask(*words)
    assert result.exit_code == 0, result.output
    lines = result.output.replace("┃", "│").splitlines()
    return [[c.strip() for c in line.split("│")[1:-1]] for line in lines if "│" in line]


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("select 1 as a, 2 as a, 3 as A_1", [["a", "a_1", "A_1_1"], ["1", "2", "3"]]),
        ("select interval '3 hours' - interval '1 day' as i", [["i"], ["-1 day 03:00:00"]]),
        ('select $$[b]x[/b]$$ as "[/a]"', [["[/a]"], ["[b]x[/b]"]]),
        ("select null as n, '' as e, 1e-9 as f", [["n", "e", "f"], ["NULL", "", "1e-09"]]),
        ("select chr(27) || '[2J' || chr(155) || chr(7) as x", [["x"], ["␛[2J\ufffd␇"]]),
        ("select 'two' || chr(10) || 'lines' as x", [["x"], ["two␊lines"]]),
        ("select repeat('x ', 500) as x", [["x"], [("x " * 500).strip()]]),
        ("set threads = 1; select 1 as a; -- the end", [["a"], ["1"]]),
        ("select 1 as a; select 2 as b", [["a"], ["1"], ["b"], ["2"]]),
        ("select 1 as a where false", [["a"]]),
    ],
)
def test_what_people_type_has_its_result(query: str, shown: list[list[str]]) -> None:
    assert cells(query) == shown


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((" ",), "Error: The query is empty; state one, such as: from warehouse."),
        (("-- nothing",), "Error: The query is empty"),
        (("select x",), 'Referenced column "x" was not found'),
        (("select '\ud83d'",), "The query is not UTF-8; write it in UTF-8."),
        (("create table t (i int)",), "read-only mode"),
        (("select 1; select 2", "--format", "csv"), "one result, and this has 2; write one at a"),
        (("select 1", "--to", "none/x.csv"), "none is no directory; make it, or write to"),
        (("select 1", "--to", "x.txt"), "x.txt ends with none of csv, json, parquet; state"),
        (("select 1", "--format", "parquet"), "Parquet is no text; state a file with --to"),
    ],
)
def test_what_has_no_result_is_said_and_leaves_nothing(
    words: tuple[str, ...], sentence: str, tmp_path: Path
) -> None:
    result = ask(*words)
    assert result.exit_code in (1, 2)
    assert isinstance(result.exception, SystemExit)
    assert sentence in " ".join(result.output.split())
    assert [path.name for path in tmp_path.iterdir()] == ["warehouse"]


def test_every_type_is_shown_and_written(tmp_path: Path) -> None:
    expected = duckdb.connect().sql(f"SELECT COLUMNS(*)::VARCHAR FROM ({EVERY_TYPE})")
    rows = expected.fetchall()
    floats = {"float", "double"}
    shown = cells(f"{EVERY_TYPE} LIMIT 1")
    assert shown[0] == expected.columns
    for name, cell, value in zip(shown[0], shown[1], rows[0], strict=True):
        assert name in floats or cell == value.strip()

    result = ask("from test_all_types()", "--format", "csv")
    written = list(csv.DictReader(io.StringIO(result.stdout)))
    assert written[1]["hugeint"] == str(2**127 - 1)
    assert written[2]["varchar"] == ""
    assert [r["interval"] for r in written] == [
        "00:00:00",
        rows[1][expected.columns.index("interval")],
        "",
    ]

    result = ask("from test_all_types()", "--format", "json")
    found = json.loads(result.stdout, parse_constant=pytest.fail)
    assert found[1]["hugeint"] == 2**127 - 1
    assert found[1]["double_array"] == [42.0, None, None, None, None, -42.0]
    assert set(found[2].values()) == {None}

    every = EVERY_TYPE.replace("EXCLUDE (empty_struct)", "REPLACE ((hugeint // 1000) AS hugeint)")
    assert ask(every, "--to", "every.parquet").exit_code == 0
    types = dict(
        duckdb.connect()
        .sql("SELECT column_name, column_type FROM (DESCRIBE 'every.parquet')")
        .fetchall()
    )
    assert (types["hugeint"], types["interval"]) == ("DECIMAL(38,0)", "VARCHAR")
    back = duckdb.connect().sql(
        "SELECT hugeint::VARCHAR, uhugeint, time_tz, interval FROM 'every.parquet'"
    )
    assert back.fetchall()[1] == (
        str(2**127 // 1000),
        str(2**128 - 1),
        "24:00:00-15:59:59",
        rows[1][expected.columns.index("interval")],
    )


def test_a_text_in_csv_is_no_formula_and_a_number_stays_one() -> None:
    query = "select '=1+1' as t, '-a' as u, -3 as n, '' as e, null::varchar as v, 'a,\"b' as q"
    assert ask(query, "--format", "csv").stdout.splitlines()[1] == (
        '"\'=1+1","\'-a",-3,"",,"a,""b"'
    )
    assert json.loads(ask(query, "--format", "json").stdout) == [
        {"t": "=1+1", "u": "-a", "n": -3, "e": "", "v": None, "q": 'a,"b'}
    ]


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "a b.csv"
    file.write_text("old")
    assert ask("select error('no') from range(3)", "--to", "a b.csv").exit_code == 1
    assert file.read_text() == "old"
    assert ask("select 1 as one", "--to", "a b.csv").exit_code == 0
    assert file.read_text() == "one\n1\n"
    assert len(list(tmp_path.iterdir())) == 2


def start(query: str, *words: str) -> subprocess.Popen[str]:
    code = "from stargate_assets.cli.main import entry; entry()"
    return subprocess.Popen(
        [sys.executable, "-c", code, "sql", query, *words],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_a_long_query_ends_at_ctrl_c_with_one_sentence(tmp_path: Path) -> None:
    ready = tmp_path / "ready.csv"
    endless = "select sum(a.range * b.range % 7) from range(100000000000) a, range(1000) b"
    process = start(f"copy (select 1) to '{ready}'; {endless}")
    while not ready.exists():
        assert process.poll() is None
        os.sched_yield()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "Error: Interrupted: the query was stopped.\n")


@pytest.mark.slow
@pytest.mark.parametrize("words", [(), ("--format", "csv")])
def test_a_reader_that_has_enough_is_no_error(words: tuple[str, ...]) -> None:
    process = start("from range(100000)", *words)
    assert process.stdout is not None
    assert process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.wait(60)
