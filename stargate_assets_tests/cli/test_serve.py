"""A policy behind an address: what programs that speak OpenAI's protocol get."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from signal import Signals
from typing import Any

import httpx
import openai
import psutil
import pytest

from stargate_assets.cli.driver import open_instance
from stargate_assets.cli.serve.server import ServeError, curl_line, serve_policy
from stargate_assets.config.model_spec import ModelSpec
from stargate_assets.definitions.project import Project, assemble
from stargate_assets.engines.engine import Checkpoint
from stargate_assets.engines.scripted import UTTERANCES, ScriptedEngine
from stargate_assets.method.language_model import (
    ChatRequest,
    FailureReason,
    Message,
    Sampling,
    ScoreRequest,
)
from stargate_assets.models.pool import ModelPool
from stargate_assets.pipeline.jobs import data_job_name, job_name
from stargate_assets.storage.checkpoints import publish
from stargate_assets.storage.io_manager import slice_of
from stargate_assets_tests.cli.adapters import write_adapter
from stargate_assets_tests.conftest import (
    ENVIRONMENT,
    JUDGED,
    SCRIPTED,
    mini_data_set,
    scripted_experiment,
)
from stargate_assets_tests.servers.served_policy import NAME, Served, serving

PROMPTS = [
    (Message("user", "What should I cook?"),),
    (Message("system", "Ask."), Message("user", "What should I cook?")),
    (Message("user", "Hm."), Message("assistant", "Who?"), Message("user", "Me <|im_end|>.")),
]


@pytest.fixture(scope="module")
def tiny(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A tiny policy: a base model with an adapter."""
    root = tmp_path_factory.mktemp("served")
    write_adapter(root / "aside", 32)
    sha256 = publish(root / "aside", root / "adapter")
    models, spec = ModelPool(root / "warehouse"), local(tiny_model)
    yield from serving(models.engine(spec, Checkpoint(root / "adapter", sha256)))


@pytest.fixture(scope="module")
def scripted() -> Iterator[Served]:
    yield from serving(ScriptedEngine())


def local(model: Path) -> ModelSpec:
    return ModelSpec(model=str(model), dtype="float32")


def remote(served: Served, monkeypatch: pytest.MonkeyPatch, model: str = NAME) -> ModelSpec:
    """What an experiment states of a served policy, where the environment says its address."""
    monkeypatch.setenv("POLICY_BASE_URL", f"{served.address}/v1")
    return ModelSpec(engine="openai", endpoint="POLICY", model=model)


def by_index(results: Iterator[tuple[int, Any]]) -> list[Any]:
    return [result for _, result in sorted(results, key=lambda found: found[0])]


def test_our_own_engine_gets_the_texts_and_scores_of_the_policy(
    tiny: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [ChatRequest(prompt, Sampling(6)) for prompt in PROMPTS]
    asked += [ChatRequest(prompt, Sampling(6, 0.9), seed) for seed, prompt in enumerate(PROMPTS)]
    scored = [ScoreRequest(prompt, "Who eats with you?", end_of_turn=True) for prompt in PROMPTS]
    ours = by_index(tiny.engine.chat(asked))
    assert len({found.text for found in ours}) > 3
    engine = ModelPool(tmp_path).engine(remote(tiny, monkeypatch))
    for one, other in zip(ours, by_index(engine.chat(asked)), strict=True):
        assert (one.text, one.finish_reason) == (other.text, other.finish_reason)
        assert one.prompt_tokens == other.prompt_tokens
        assert one.completion_tokens == other.completion_tokens
    scores = by_index(engine.score(scored))
    for one, other in zip(by_index(tiny.engine.score(scored)), scores, strict=True):
        assert one.log_probs == pytest.approx(other.log_probs, abs=1e-5)
        assert one.prompt_tokens == other.prompt_tokens
    too_long = Message("user", "word " * 3000)
    for failed in (
        *by_index(engine.chat([ChatRequest((too_long,), Sampling(6))])),
        *by_index(engine.score([ScoreRequest((too_long,), "Hm.")])),
    ):
        assert failed.failure.reason == FailureReason.TOO_LONG


def test_openai_s_client_streams_and_lists(scripted: Served) -> None:
    with openai.OpenAI(base_url=f"{scripted.address}/v1", api_key="none") as client:
        assert [model.id for model in client.models.list()] == [NAME]
        messages: Any = [{"role": "user", "content": [{"type": "text", "text": "Hm."}]}]
        whole = client.chat.completions.create(model=NAME, messages=messages, temperature=0)
        assert whole.choices[0].message.content == UTTERANCES[-2]
        assert whole.choices[0].finish_reason == "stop"
        stream = client.chat.completions.create(
            model=NAME, messages=messages, temperature=0, stream=True
        )
        chunks = [chunk.choices[0] for chunk in stream]
    assert "".join(chunk.delta.content or "" for chunk in chunks) == UTTERANCES[-2]
    assert [chunk.finish_reason for chunk in chunks] == [None, None, "stop"]


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ({"model": "gpt-4"}, 404, "The model 'gpt-4' does not exist; there is 'loop-policy-1'."),
        ({"n": 2}, 400, "n: Input should be 1"),
        ({"stop": ["."]}, 400, "stop: Input should be null"),
        ({"messages": []}, 400, "messages: List should have at least 1 item"),
        ({"max_tokens": 10**9}, 400, "in this engine has room for"),
    ],
)
def test_what_cannot_be_had_is_told(
    tiny: Served, change: dict[str, Any], status: int, said: str
) -> None:
    body = {"model": NAME, "messages": [{"role": "user", "content": "Hm."}]} | change
    answer = httpx.post(f"{tiny.address}/v1/chat/completions", json=body)
    assert answer.status_code == status
    assert said in answer.json()["error"]["message"]


def test_a_page_of_another_site_is_not_answered(scripted: Served) -> None:
    body = json.dumps({"model": NAME, "messages": [{"role": "user", "content": "Hm."}]})
    address = f"{scripted.address}/v1/chat/completions"
    answer = httpx.post(address, content=body, headers={"content-type": "text/plain"})
    assert answer.status_code == 415
    assert httpx.post(f"{scripted.address}/tokenize", json={}).status_code == 404


def test_requests_that_come_together_are_computed_together_and_fail_alone(tiny: Served) -> None:
    def post(limit: int) -> int:
        body = {"model": NAME, "messages": [{"role": "user", "content": "Hm."}]}
        answer = httpx.post(
            f"{tiny.address}/v1/chat/completions", json=body | {"max_tokens": limit}, timeout=60
        )
        return answer.status_code

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(post, [2, 10**9, 3, 2, 10**9, 4, 2, 2]))
    assert found == [200, 400, 200, 200, 400, 200, 200, 200]


def test_a_port_that_is_taken_is_told_before_a_model_is_opened(
    scripted_project: Callable[..., Project], scripted: Served
) -> None:
    port = int(scripted.address.rpartition(":")[2])
    with pytest.raises(ServeError, match=f"Nothing can listen at 127.0.0.1:{port}"):
        serve_policy(scripted_project(), "loop", None, "127.0.0.1", port)


def test_what_is_behind_an_endpoint_is_not_served_again(
    scripted_project: Callable[..., Project],
) -> None:
    project = scripted_project(questioner={"engine": "openai", "model": "gpt-4"})
    with pytest.raises(ServeError, match="behind an endpoint already"):
        serve_policy(project, "loop", None, "127.0.0.1", 0)


DECLARED = """\
type: stargate_assets.pipeline.components.DataSetComponent
attributes:
  name: mini
  data_set:
    tasks: {file: tasks.jsonl}
    personas: {file: personas.jsonl}
    gold_responses: {file: gold_responses.jsonl}
---
type: stargate_assets.pipeline.components.ExperimentComponent
attributes:
  name: loop
  experiment:
    data_set: mini
    questioner: {engine: scripted, model: any}
    roleplayers: [{model: {engine: scripted, model: any}}]
"""
COMMAND = """\
from pathlib import Path
from stargate_assets.definitions import project
project.DEFS = Path("mini").absolute()
from stargate_assets.cli.main import entry
entry()
"""


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(Signals.SIGINT, 130), (Signals.SIGTERM, 143)])
def test_the_line_that_is_printed_works_and_the_command_ends(
    mini: Path, number: Signals, code: int
) -> None:
    directory = mini / "loop"
    directory.mkdir()
    for file in mini.glob("*.jsonl"):
        shutil.move(file, directory)
    (directory / "defs.yaml").write_text(DECLARED)
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND, "serve", "loop", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    ) as server:
        assert server.stdout is not None
        loading, first, shown = (server.stdout.readline() for _ in range(3))
        assert loading == "Loading any at scripted.\n"
        assert re.match(r"Serving loop-policy-0 at http://127\.0\.0\.1:\d+/v1; Ctrl-C", first)
        _, address, _, kind, _, body = shlex.split(shown)
        header, _, value = kind.partition(": ")
        answer = httpx.post(address, content=body, headers={header: value})
        assert answer.json()["choices"][0]["message"]["content"] in UTTERANCES
        children = psutil.Process(server.pid).children(recursive=True)
        server.send_signal(number)
        _, said = server.communicate(timeout=60)
    assert server.returncode == code
    assert said.startswith(f"Ended by {number.name}. ")
    assert not [child for child in children if child.is_running()]


def test_the_line_has_the_policy_s_own_prompt() -> None:
    experiment = scripted_experiment(Path("any"), simulation={"question_tokens": 9})
    line = shlex.split(curl_line("http://h:1/v1", NAME, experiment))
    body = json.loads(line[-1])
    assert line[1] == "http://h:1/v1/chat/completions"
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    assert body["messages"][1]["content"].startswith("My name is Ana. What should I cook tonight?")
    assert (body["max_tokens"], body["temperature"]) == (9, 0.9)


@pytest.mark.slow
def test_an_experiment_evaluates_a_served_policy(
    tiny_model: Path, mini: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its tables are those of an experiment that opens the same model itself."""
    models = ModelPool(tmp_path / "served")
    found: list[list[dict[str, Any]]] = []
    for served in serving(models.engine(local(tiny_model))):
        for name, spec in (("near", local(tiny_model)), ("far", remote(served, monkeypatch))):
            changes = {**JUDGED, "judge": None, "roleplayers": [{"model": SCRIPTED}]}
            changes |= {"simulation": {"question_tokens": 8, "max_turns": 2}}
            changes |= {"evaluation": {"samples": 2, "answer_tokens": 8}}
            experiment = scripted_experiment(tiny_model, **changes, questioner=spec)
            project = assemble({"mini": mini_data_set(mini)}, {name: experiment}, Path("warehouse"))
            evaluate(project, name)
            for table in ("conversations", "responses"):
                rows = project.warehouse.read(name, table, [slice_of("0|test")])
                found.append(rows.sort(rows.columns[:5]).to_dicts())
            scores = project.warehouse.read(name, "gold_log_probs", [slice_of("0|test")])
            by_key = scores.sort("task_id", "persona_id", "condition", "sample")
            found.append([{"log_prob": round(value, 3)} for value in by_key["log_prob"]])
    assert found[:3] == found[3:]
    assert all(found)


def evaluate(project: Project, name: str) -> None:
    repository = project.definitions.get_repository_def()
    with open_instance() as instance:
        data = repository.get_job(data_job_name("mini"))
        data.execute_in_process(instance=instance, partition_key="test")
        job = repository.get_job(job_name(name, "evaluate"))
        job.execute_in_process(instance=instance, partition_key="0|test")
