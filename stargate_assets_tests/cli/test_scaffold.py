"""`stargate init` on a user's files: what it finds, what it writes, and what it refuses."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from pytest_httpserver import HTTPServer

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


def test_what_a_file_seems_to_be_is_said_and_stated(files: Path) -> None:
    rows = "".join(f"Où dîner le {n}, et à quelle heure?;7\n" for n in range(9))
    (files / "tasks.csv").write_bytes(f"query;n\n{rows}".encode("cp1252"))
    code, output = init(files, "mine", "--column", "tasks.text=query")
    assert code == 0, output
    assert "seems to have the encoding 'cp1252', as in 'Où dîner le 0, et à quelle" in output
    assert "seems to have the delimiter ';'; if not, say which: --format tasks.delimiter=" in output
    stated = yaml.safe_load((files.parent / "defs" / "mine" / "defs.yaml").read_text())
    tasks = stated["attributes"]["data_set"]["tasks"]
    assert (tasks["encoding"], tasks["delimiter"]) == ("cp1252", ";")
    stated = init(
        files, "other", "--format", "tasks.encoding=cp1250", "--column", "tasks.text=query"
    )
    assert "encoding" not in stated[1]
    assert (
        yaml.safe_load((files.parent / "defs" / "other" / "defs.yaml").read_text())["attributes"][
            "data_set"
        ]["tasks"]["encoding"]
        == "cp1250"
    )


def test_bad_rows_are_left_out_and_counted_if_that_is_asked_for(files: Path) -> None:
    for name in ("broken UTF-8", "a comma too many", "control character"):
        TEN_BAD_FILES[name][0](files)
    code, output = init(files)
    assert code == 1
    assert "3 faults in" in output
    assert "correct them, or leave their rows out with skip_bad: true" in output
    code, output = init(files, "mine", "--skip-bad")
    assert code == 0, output
    assert "tasks: 998 rows" in output
    assert "left out: wrong_encoding 1, wrong_number_of_fields 1" in output
    assert "personas: 199 rows" in output
    stated = yaml.safe_load((files.parent / "defs" / "mine" / "defs.yaml").read_text())
    assert stated["attributes"]["data_set"]["personas"]["skip_bad"] is True


def test_a_url_is_stated_with_the_hash_of_its_bytes(files: Path, http: HTTPServer) -> None:
    data = (files / "tasks.csv").read_bytes()
    http.expect_request("/init/tasks.csv").respond_with_data(data)
    url = http.url_for("/init/tasks.csv")
    people = str(files / "personas.csv")
    result = CliRunner().invoke(main, ["init", "mine", "--tasks", url, "--personas", people])
    assert result.exit_code == 0, result.output
    stated = yaml.safe_load((files.parent / "defs" / "mine" / "defs.yaml").read_text())
    tasks = stated["attributes"]["data_set"]["tasks"]
    assert tasks == {"url": {url: hashlib.sha256(data).hexdigest()}}


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
    "broken UTF-8": (
        spoil("tasks.csv", "Übung", "\udcdcbung"),
        "column 'text': not UTF-8; save the file as UTF-8, or state its encoding.",
    ),
    "another delimiter": (
        lambda d: (d / "tasks.csv").write_text("text^kind\nWhat?^general\n"),
        "tasks.csv has no column 'text', but text^kind; rename one",
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
        (("mine", "--column", "text"), "is not of the form TABLE.FIELD=VALUE"),
        (("mine", "--column", "gold_responses.text=a"), "There is no file of gold_responses"),
        (("mine", "--format", "tasks.text=a"), "'text' is no field of a format; there are: enc"),
        (("mine", "--format", "tasks.sheet"), "is not of the form TABLE.FIELD=VALUE"),
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
