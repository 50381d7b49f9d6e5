"""What `stargate prompts` shows of a pair."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from stargate_assets.cli.driver import DriverError, load
from stargate_assets.cli.main import main
from stargate_assets.cli.prompts import LEARNT, raw_texts, shown_prompts
from stargate_assets.config.experiment import Experiment, Judge
from stargate_assets.definitions.project import load_project
from stargate_assets.engines.chat_tokenizer import ChatTokenizer
from stargate_assets.engines.tokenizers import find_tokenizer


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_every_role_of_an_experiment_is_shown() -> None:
    output = CliRunner().invoke(main, ["prompts", "embedded", "--pair", "3"]).output
    headings = [line for line in output.splitlines() if line.endswith("(bundled at transformers)")]
    assert [heading.partition(" (")[0] for heading in headings] == [
        "questioner",
        "respondent and scorer",
        "respondent, instructed",
        "scorer, negative control",
        "scorer, positive control",
        "judge, who knows the person",
        "judge, who does not",
    ]


def test_a_judge_who_writes_and_a_roleplayer_who_generates_are_shown_too() -> None:
    roles = [p.role for p in shown_prompts(load("star_gate"), "everyday_smoke", 0)]
    assert "oracle" in roles
    assert "persona writer" in roles


def test_a_pair_that_there_is_not_is_one_sentence() -> None:
    with pytest.raises(DriverError, match="everyday_mini has 32 test pairs; choose one from 0"):
        shown_prompts(load("embedded"), "embedded", 32)


def test_the_raw_text_encloses_what_is_learnt(smollm: Path) -> None:
    shown = shown_prompts(load("embedded"), "embedded", 0)
    tokenizer = find_tokenizer(str(smollm), None)
    chat = ChatTokenizer(tokenizer, "bundled")
    (asking,) = raw_texts(shown[0], chat)
    (answering,) = raw_texts(shown[1], chat)
    assert asking.count(LEARNT[0]) == 2
    assert f"{LEARNT[0]}What should I know about you?<|im_end|>{LEARNT[1]}" in asking
    assert answering.count(LEARNT[0]) == 1
    assert answering.endswith(f"<|im_end|>{LEARNT[1]}")


def test_other_judges_are_shown_by_their_labels() -> None:
    def judged_twice(_: str, experiment: Experiment) -> Experiment:
        elm = Judge(model=experiment.questioner, name="elm", method="choice")
        return experiment.model_copy(update={"other_judges": (elm,)})

    shown = shown_prompts(load_project(judged_twice), "embedded", 0)
    assert [prompt.role for prompt in shown][-2:] == ["judge, who does not", "judge elm"]
