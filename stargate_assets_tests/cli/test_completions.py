"""`stargate completions`, as a user calls it."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from stargate_assets.cli.main import main
from stargate_assets.method.language_model import Completion
from stargate_assets.models.pool import ModelPool
from stargate_assets.storage.completions import CompletionStore
from stargate_assets.storage.postgres import COMPLETIONS_URL, Postgres
from stargate_assets_tests.conftest import USE

ANSWER = Completion("Who?", "stop", 3, 4)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def call(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["completions", *words])
    return result.exit_code, " ".join(result.output.split())


def answer(store: CompletionStore, *keys: str) -> None:
    with store.writer("model", USE, "the model") as writer:
        for key in keys:
            writer.write(key, ANSWER, 0.5, 0.25)


def test_completions_go_into_the_database_and_back(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(COMPLETIONS_URL, raising=False)
    code, output = call("copy", "--to", "postgresql")
    assert (code, COMPLETIONS_URL in output) == (2, True)
    monkeypatch.setenv(COMPLETIONS_URL, postgres_url)
    for target in ("postgresql", "sqlite"):
        assert call("copy", "--to", target) == (1, "Error: There is no completion store to copy.")

    monkeypatch.delenv(COMPLETIONS_URL)
    answer(ModelPool(Path("warehouse")).store(), "a", "b")
    monkeypatch.setenv(COMPLETIONS_URL, postgres_url)
    said = "copying completions: 2 2 completions, {} of them new."
    assert call("copy", "--to", "postgresql") == (0, said.format(2))
    assert call("copy", "--to", "postgresql") == (0, said.format(0))
    assert CompletionStore(Postgres(postgres_url)).read(["a"]) == {"a": ANSWER}
    answer(ModelPool(Path("warehouse")).store(), "c")
    assert call("copy", "--to", "sqlite") == (
        0,
        "copying completions: 3 3 completions, 1 of them new.",
    )
    monkeypatch.delenv(COMPLETIONS_URL)
    assert ModelPool(Path("warehouse")).store().count() == 3


def test_a_budget_is_set_shown_and_removed(tmp_path: Path) -> None:
    nothing = "There is no budget; each run has a limit of its own (--max-dollars)."
    for words in ((), ("--remove",)):
        assert call("budget", *words) == (0, nothing)
    assert list(tmp_path.iterdir()) == []
    shown = "Of 100.00 dollars, {} are paid, and {} are reserved for calls under way."
    assert call("budget", "100") == (0, shown.format("0.0000", "0.0000"))
    store = ModelPool(Path("warehouse")).store()
    with store.writer("model", USE, "the model") as writer:
        writer.reserve({"a": 1.0, "b": 1.0})
        writer.write("a", ANSWER, 0.5, 0.25)
        assert call("budget") == (0, shown.format("0.2500", "1.0000"))
    assert call("budget") == (0, shown.format("0.2500", "0.0000"))
    assert call("budget", "--remove") == (0, nothing)


@pytest.mark.parametrize("words", [("0",), ("nan",), ("inf",), ("ten",), ("10", "--remove")])
def test_what_is_no_budget_is_refused(words: tuple[str, ...], tmp_path: Path) -> None:
    code, _ = call("budget", *words)
    assert code == 2
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_address_is_one_sentence_wherever_it_is_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(COMPLETIONS_URL, f"postgresql://me:s3cret@/nowhere?host={tmp_path}")
    for words in (("completions", "budget"), ("status", "embedded"), ("estimate", "embedded")):
        result = CliRunner().invoke(main, words)
        assert result.exit_code == 1
        assert "The completion store in PostgreSQL cannot be opened (" in result.output
        assert "Traceback" not in result.output
        assert "s3cret" not in result.output
    written = [file.read_text() for file in tmp_path.rglob("*.log")]
    assert not any("s3cret" in text for text in written)
