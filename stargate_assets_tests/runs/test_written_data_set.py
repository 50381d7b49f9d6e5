"""`stargate init --domain`: a data set that the scripted engine writes whole."""

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from stargate_assets.cli.driver import run_data_set
from stargate_assets.cli.main import main
from stargate_assets.config.data_set import validate_data_set
from stargate_assets.definitions.project import assemble


def test_a_domain_and_a_model_make_a_whole_data_set(
    mini: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stargate_assets.definitions.project.DEFS", mini / "defs")
    words = ["--domain", "travel with allergies", "--engine", "scripted", "--model", "script"]
    result = CliRunner().invoke(main, ["init", "travels", *words])
    assert result.exit_code == 0, result.output
    path = mini / "defs" / "travels" / "defs.yaml"
    stated = yaml.safe_load(path.read_text())["attributes"]["data_set"]
    for writer in ("task_writer", "persona_writer"):  # fewer, to be quick
        stated[writer]["sizes"] = {"train_a": 2, "train_b": 2, "test": 1}
    data_set = validate_data_set("travels", stated, path.parent)
    project = assemble({"travels": data_set}, {}, Path("warehouse"))
    sizes = run_data_set(project, "travels", print)
    assert sizes.drop("split").to_dict(as_series=False) == {
        "tasks": [2, 2, 1],
        "personas": [2, 2, 1],
        "gold_responses": [4, 4, 1],
    }
    tasks = project.warehouse.query("SELECT * FROM travels.tasks")
    assert tasks["text"].n_unique() == 5
    assert set(tasks["domain"]) == {"travel with allergies"}
    assert set(tasks["kind"]) == {"specific", "general"}
    assert project.models.usage.made == 1 + 5 + 9  # each answer once


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--domain", "x"], "--domain needs --model"),
        (["--domain", "x", "--model", "m", "--tasks", "t.csv"], "and no files"),
        ([], "State --tasks and --personas, or --domain and --model"),
        (["--domain", "x" * 81, "--model", "m"], "has 81 characters, 80 at most"),
    ],
)
def test_what_does_not_go_together_is_said(
    mini: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    monkeypatch.setattr("stargate_assets.definitions.project.DEFS", mini / "defs")
    result = CliRunner().invoke(main, ["init", "travels", *words])
    assert result.exit_code
    assert said in " ".join(result.output.split())
    assert not (mini / "defs" / "travels").exists()
