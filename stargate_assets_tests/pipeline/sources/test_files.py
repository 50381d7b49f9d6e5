"""Files of all forms and from all places: read right, or every fault named."""

import hashlib
from pathlib import Path

import fsspec
import pytest
from pytest_httpserver import HTTPServer

from stargate_assets.config.data_set import DataError, Source
from stargate_assets.pipeline.sources.files import read_files
from stargate_assets.pipeline.sources.guesses import guess_form
from stargate_assets.pipeline.sources.rows import raise_faults, read_rows
from stargate_assets_tests.pipeline.sources.ugly_files import HOPELESS, PLAIN, TEXTS, UGLY, csv


def texts(source: Source) -> list[str]:
    return [row["text"] for row in read_rows(source, ("text",)).rows]


@pytest.mark.parametrize("name", UGLY)
def test_an_ugly_file_is_read_right_or_all_its_faults_are_named(tmp_path: Path, name: str) -> None:
    ugly = UGLY[name]
    path = tmp_path / ugly.file
    path.write_bytes(ugly.data)
    [file] = read_files(Source(file=(path,)))
    form = guess_form(file, Source(file=(path,)), ("text",))
    assert form == ugly.form
    rows = read_rows(Source.model_validate({"file": path, **form}), ("text",))
    assert [row["text"] for row in rows.rows] == list(ugly.texts)
    assert rows.left_out == ugly.left_out
    said = [fault for _, fault in rows.faults]
    assert len(said) == len(ugly.faults)
    assert all(f"{path}, {start}" in fault for start, fault in zip(ugly.faults, said, strict=True))


@pytest.mark.parametrize("name", HOPELESS)
def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path: Path, name: str) -> None:
    file, data, complaint = HOPELESS[name]
    path = tmp_path / file
    path.write_bytes(data)
    with pytest.raises(DataError) as caught:
        texts(Source(file=(path,)))
    assert complaint in str(caught.value)
    assert path.name in str(caught.value)


def test_the_first_twenty_faults_are_told_and_all_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text\nSo?\n" + "\x07\n" * 23)
    with pytest.raises(DataError) as caught:
        raise_faults(read_rows(Source(file=(path,)), ("text",)))
    first, *told, last = str(caught.value).splitlines()
    assert first.startswith(f"23 faults in {path}; correct them, or leave their rows out with skip")
    places = [f"  {path}, line {line}, column 'text': has the control" for line in range(3, 23)]
    assert [line[: len(places[0])] for line in told] == [p[: len(places[0])] for p in places]
    assert last == "  and 3 more"


def test_rows_with_faults_are_left_out_if_that_is_said_but_no_open_quote(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('text,n\nSo?,1\n\x07,2\nYes,or no?,3\n"Is "he"?",4\nWhy?,5\n')
    skipping = Source(file=(path,), skip_bad=True)
    rows = read_rows(skipping, ("text",))
    assert [row["text"] for row in rows.rows] == ["So?", "Why?"]
    assert rows.left_out == {"control_character": 1, "wrong_number_of_fields": 1, "not_csv": 1}
    path.write_text('text\nSo?\n"Why?\nWhere?\n')  # who knows how many rows are in the quote
    assert [fault for _, fault in read_rows(skipping, ("text",)).faults] == [
        f"{path}, line 3: not CSV (unexpected end of data); correct the quotes."
    ]


def test_a_folder_and_a_pattern_stand_for_their_files_in_order(tmp_path: Path) -> None:
    for number, name in enumerate(
        ("b.csv", "a.csv", ".hidden.csv", "~$c.csv", "sub/d.csv", "e.md")
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"text\n{number}?\n")
    assert texts(Source(file=(tmp_path,))) == ["1?", "0?"]
    assert texts(Source(file=(tmp_path / "*.csv",))) == ["1?", "0?"]
    assert texts(Source(file=(tmp_path / "**" / "*.csv",))) == ["1?", "0?", "4?"]
    (tmp_path / "f[1].csv").write_text("text\nFirst?\n")  # a name that looks like a pattern
    assert texts(Source(file=(tmp_path / "f[1].csv",))) == ["First?"]
    for nothing in (tmp_path / "*.parquet", tmp_path / "sub" / ".." / "empty"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(DataError, match=r"names no file that ends with \.csv"):
            texts(Source(file=(nothing,)))


def test_a_url_is_held_to_the_bytes_that_were_declared(http: HTTPServer) -> None:
    data = csv(PLAIN)
    http.expect_request("/data/tasks.csv").respond_with_data(data)
    url, digest = http.url_for("/data/tasks.csv?version=1"), hashlib.sha256(data).hexdigest()
    assert texts(Source(url={url: digest})) == list(TEXTS)
    with pytest.raises(DataError, match="is not what it was when it was declared"):
        texts(Source(url={url: "0" * 64}))
    http.expect_request("/none.csv").respond_with_data("no", 404)
    with pytest.raises(DataError, match=r"none.csv cannot be read \("):
        texts(Source(url={http.url_for("/none.csv"): digest}))
    with pytest.raises(DataError, match="cannot be read"):
        texts(Source(url={"nosuch://a/b.csv": digest}))


def test_other_file_systems_of_fsspec_are_read_too() -> None:
    data = csv(PLAIN)
    with fsspec.open("memory://ugly/tasks.csv", "wb") as file:
        file.write(data)  # pyright: ignore[reportAttributeAccessIssue]
    assert texts(Source(url={"memory://ugly/tasks.csv": hashlib.sha256(data).hexdigest()})) == [
        *TEXTS
    ]
