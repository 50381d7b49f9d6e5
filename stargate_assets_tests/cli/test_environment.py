"""The environment for trainers: the package stands alone, and its reward is the project's."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from stargate_assets.cli.environment.exporter import write_environment
from stargate_assets.cli.environment.files import players as players_module
from stargate_assets.cli.environment.files.endpoint import Endpoint, EndpointError
from stargate_assets.cli.environment.files.grpo import make_rollout, policy_messages
from stargate_assets.cli.environment.files.players import Dialogue, Players
from stargate_assets.config.model_spec import ModelSpec
from stargate_assets.method.conditions import Condition
from stargate_assets.method.language_model import Completion, Score, ScoreRequest
from stargate_assets.method.scoring import score_gold_responses
from stargate_assets.models.pool import ModelPool
from stargate_assets.reporting.tables import ExperimentTables
from stargate_assets_tests.reporting import frames
from stargate_assets_tests.servers.served_policy import NAME, Served, serving

MODULE = "star_gate_embedded"


@pytest.fixture(scope="module")
def tables() -> ExperimentTables:
    return frames.tables("embedded", tasks=2, people=2)


@pytest.fixture(scope="module")
def package(tables: ExperimentTables, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("environment")
    write_environment(tables, directory)
    return directory


@pytest.fixture(scope="module")
def served(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    models = ModelPool(tmp_path_factory.mktemp("served"))
    yield from serving(models.engine(ModelSpec(model=str(tiny_model), dtype="float32")))


@pytest.fixture
def dialogues(package: Path, monkeypatch: pytest.MonkeyPatch) -> list[Dialogue]:
    monkeypatch.setattr(players_module, "DATA", package / MODULE / "data")
    return players_module.read_dialogues("test")


@pytest.fixture
def players(dialogues: list[Dialogue], served: Served, monkeypatch: pytest.MonkeyPatch) -> Players:
    """Whose models are at a server of the tiny one."""
    for label in (players_module.SCORER, players_module.ROLEPLAYER):
        monkeypatch.setenv(f"{label}_BASE_URL", f"{served.address}/v1")
        monkeypatch.setenv(f"{label}_MODEL", NAME)
    return players_module.open_players()


def test_the_package_needs_nothing_of_this_project(package: Path, tables: ExperimentTables) -> None:
    code = sorted((package / MODULE).rglob("*.py"))
    assert {"players.py", "taskset.py", "grpo.py", "roleplay.py"} <= {file.name for file in code}
    assert [file for file in code if "stargate_assets" in file.read_text()] == []
    count = f"from {MODULE}.players import *; print(len(read_dialogues('test')), open_players)"
    clean = f"import sys; sys.modules['stargate_assets'] = None; {count}"
    command = [sys.executable, "-c", clean]
    ran = subprocess.run(command, cwd=package, capture_output=True, text=True, check=True)
    gold = tables.tested("gold_responses").filter(pl.col("exclusion").is_null())
    assert int(ran.stdout.split()[0]) == gold.height > 0


def test_the_reward_is_the_gain_that_the_project_computes(
    players: Players, dialogues: list[Dialogue], served: Served
) -> None:
    texts = {d.pair.key: d.gold_response for d in dialogues}
    conversations = [
        players.begin(d).with_question("Who is it for?", truncated=False).with_answer("My aunt.")
        for d in dialogues
    ]

    class Direct:
        def score(self, requests: Sequence[ScoreRequest], doing: str) -> list[Score]:
            return [score for _, score in sorted(served.engine.score(requests))]

        def chat(self, requests: Any, doing: str) -> list[Completion]:
            raise NotImplementedError

    scored = score_gold_responses(
        Direct(), conversations, texts, dialogues[0].cell, 0, players.prompts
    )
    by_condition = {(s.pair.key, s.condition): s.log_prob for s in scored}
    wanted = [
        by_condition[key, Condition.EXPERIMENTAL] - by_condition[key, Condition.NEGATIVE_CONTROL]
        for key in texts
    ]
    found = players.rewards(dialogues, conversations)
    assert found == pytest.approx(wanted, abs=1e-3)
    assert len({round(value, 3) for value in found}) > 1


def test_a_rollout_is_the_whole_conversation_and_only_the_policy_is_trained(
    players: Players, dialogues: list[Dialogue], tiny_model: Path
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    accelerator = SimpleNamespace(device="cpu", unwrap_model=lambda model: model)
    trainer = SimpleNamespace(processing_class=tokenizer, model=model, accelerator=accelerator)
    players.settings["asking"]["max_tokens"] = 5
    players.settings["roleplayers"] = {"one": {"replies": "chosen"}}
    first = {json.dumps(policy_messages(players.prompts, players.begin(d))): d for d in dialogues}
    torch.manual_seed(0)
    prompts = [json.loads(key) for key in first for _ in range(2)]
    rolled = make_rollout(players, first)(prompts, trainer)
    assert len(rolled["gain"]) == len(prompts)
    for messages, prompt, said, mask in zip(
        prompts, rolled["prompt_ids"], rolled["completion_ids"], rolled["env_mask"], strict=True
    ):
        assert len(said) == len(mask)
        dialogue = first[json.dumps(messages)]
        runs = "".join(map(str, mask)).split("0")
        asked = [run for run in runs if run]
        assert len(asked) == dialogue.turns
        assert all(len(run) <= 5 for run in asked)
        opening = tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True
        )
        assert tokenizer.decode(prompt) == opening
        whole = tokenizer.decode(said)
        assert whole.count("<|im_start|>user") == dialogue.turns - 1


def test_an_endpoint_that_is_not_stated_says_which_variable_is_missing() -> None:
    with pytest.raises(EndpointError, match="Set STARGATE_SCORER_MODEL in the environment"):
        Endpoint("STARGATE_SCORER", {"STARGATE_SCORER_BASE_URL": "http://127.0.0.1/v1"})
