"""`stargate init` on a user's files: what it finds, what it writes, and what it refuses."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from stargate_assets.cli.main import main
from stargate_assets.config.data_set import validate_data_set
from stargate_assets.pipeline.sources.tables import read_tables
from stargate_assets_tests.mixed_scripts import write_mixed_scripts

GOOD = "name,text\nAna,I sail.\nBo,I knit.\nCy,I bake.\n"


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("stargate_assets.definitions.project.DEFS", tmp_path / "defs")
    write_mixed_scripts(tmp_path / "files")
    return tmp_path / "files"


def init(directory: Path, *more: str) -> tuple[int, str]:
    words = ["--tasks", str(directory / "tasks.csv"), "--personas", str(directory / "personas.csv")]
    result = CliRunner().invoke(main, ["init", *(more or ("mine",)), *words])
    return result.exit_code, " ".join(result.output.split())


def test_what_was_found_is_printed_and_the_defs_yaml_loads(files: Path) -> None:
    code, output = init(files)
    assert code == 0, output
    assert "tasks: 1000 rows: train_a 455, train_b 454, test 91" in output
    assert "personas: 200 rows: train_a 91, train_b 91, test 18" in output
    assert "scripts: arabic 200, cjk 200, hebrew 200, latin 400" in output
    assert "kind: general 200, specific 800" in output
    assert "near-duplicates (similarity 0.5 and more): " in output
    assert "Load it: stargate run mine" in output
    path = files.parent / "defs" / "mine" / "defs.yaml"
    stated = yaml.safe_load(path.read_text())["attributes"]
    data_set = validate_data_set(stated["name"], stated["data_set"], path.parent)
    assert read_tables(data_set).tasks.frame.height == 1000


def test_columns_and_an_oracle_can_be_named(files: Path) -> None:
    tasks = files / "tasks.csv"
    tasks.write_text(tasks.read_text().replace("text,", "query,", 1))
    code, output = init(files)
    assert code == 1
    assert "has no column 'text', but query, domain, kind; rename one, or name it" in output
    code, output = init(files, "mine", "--column", "tasks.text=query", "--oracle", "bundled")
    assert code == 0, output
    stated = yaml.safe_load((files.parent / "defs" / "mine" / "defs.yaml").read_text())
    assert stated["attributes"]["data_set"]["tasks"]["columns"] == {"text": "query"}
    assert stated["attributes"]["data_set"]["oracle"] == {"model": {"model": "bundled"}}


def spoil(name: str, old: str, new: str) -> Callable[[Path], None]:
    def change(directory: Path) -> None:
        path = directory / name
        content = path.read_bytes()
        assert old.encode() in content
        path.write_bytes(content.replace(old.encode(), new.encode("utf-8", "surrogateescape"), 1))

    return change


TEN_BAD_FILES: dict[str, tuple[Callable[[Path], None], str]] = {
    "not there": (lambda d: (d / "tasks.csv").unlink(), "tasks.csv is not there; add it."),
    "empty": (lambda d: (d / "tasks.csv").write_bytes(b""), "tasks.csv has no rows; add a header"),
    "Latin-1": (spoil("tasks.csv", "Übung", "\udcdcbung"), "not UTF-8; save the file as UTF-8."),
    "semicolons": (
        lambda d: (d / "tasks.csv").write_text("text;kind\nWhat?;general\n"),
        "line 1: no commas between the columns; save it as CSV with commas.",
    ),
    "open quote": (
        spoil("personas.csv", "小c明,", '小c明,"'),
        "personas.csv, line 4: not CSV",
    ),
    "a comma too many": (
        spoil("tasks.csv", ",latin,", ",latin,and more,"),
        "tasks.csv, line 2: 4 fields where the header has 3; correct the commas, or put the text",
    ),
    "control character": (
        spoil("personas.csv", "رقم 104729", "رقم\x08104729"),
        "personas.csv, line 3, column 'text': has the control character U+0008 as its character",
    ),
    "the same name": (
        spoil("personas.csv", "Zoëf", "ZOËA"),
        "personas.csv, line 7, column 'name': is the same as in line 2; remove one.",
    ),
    "the same task": (
        lambda d: (d / "tasks.csv").write_text("text\nWhat now?\nWhich?\nwhat NOW\n"),
        "tasks.csv, line 4, column 'text': is the same as in line 2; remove one.",
    ),
    "a name in a task": (
        spoil("tasks.csv", ", help?", " for Kaie, help?"),
        "'Kaie' stands in the task of",
    ),
}


@pytest.mark.parametrize("fault", TEN_BAD_FILES)
def test_ten_bad_files_are_ten_clear_errors_and_nothing_is_written(files: Path, fault: str) -> None:
    change, complaint = TEN_BAD_FILES[fault]
    change(files)
    code, output = init(files)
    assert code == 1
    assert complaint in output
    assert "Traceback" not in output
    assert not (files.parent / "defs").exists()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("My Data",), "'My Data' cannot name a data set; use small letters, digits and _, and"),
        (("main",), "'main' cannot name a data set"),
        (("mine", "--column", "text"), "is not of the form TABLE.FIELD=COLUMN"),
        (("mine", "--column", "gold_responses.text=a"), "There is no file of gold_responses"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    files: Path, words: tuple[str, ...], complaint: str
) -> None:
    code, output = init(files, *words)
    assert code != 0
    assert complaint in output


def test_a_data_set_that_is_there_is_not_overwritten(files: Path) -> None:
    assert init(files)[0] == 0
    code, output = init(files)
    assert code == 1
    assert "The name 'mine' is taken; give each data set, experiment and evaluation" in output
