"""Whole cells in which every model thinks before it speaks, and some think until their tokens end:
no thought is in a table, in a prompt, in what is scored or in what is exported.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from zlib import crc32

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from stargate_assets.cli.driver import open_instance
from stargate_assets.cli.export import export
from stargate_assets.definitions.project import Project, assemble
from stargate_assets.models.pool import COMPLETIONS
from stargate_assets.pipeline.jobs import data_job_name, job_name
from stargate_assets_tests.chat_templates import chat_tokenizer
from stargate_assets_tests.conftest import mini_data_set, scripted_experiment
from stargate_assets_tests.runs.cells import materialize, tables
from stargate_assets_tests.servers.faulty_chat_endpoint import reply
from stargate_assets_tests.servers.faulty_vllm_server import said
from stargate_assets_tests.servers.vllm_protocol import BASE, VllmServer, register

THOUGHT = "Zymurgy"
MODEL = {"engine": "openai", "endpoint": "THINKER", "model": BASE}


@dataclass
class ThinkingServer(VllmServer):
    """Says what the scripted engine says, after a thought that it puts wherever servers put it."""

    asked: list[str] = field(default_factory=list)

    def chat(self, request: Request) -> Response:
        body = json.loads(request.get_data())
        self.asked.append(json.dumps(body))
        text = said(body)
        messages = [
            {"content": f"<think>\n{THOUGHT}.\n</think>\n\n{text}"},
            {"content": text, "reasoning_content": THOUGHT},
            {
                "content": [
                    {"type": "thinking", "thinking": THOUGHT},
                    {"type": "text", "text": text},
                ]
            },
            {"content": f"{THOUGHT}.</think>{text}"},
            {"content": f"<think>\n{THOUGHT}. {text}"},
        ]
        asked = json.dumps([body["messages"], body["seed"]])
        unclosed = "TrainA1" in asked and not body["temperature"]
        number = -1 if unclosed else crc32(asked.encode()) % len(messages)
        return reply({"choices": [{"message": messages[number], "finish_reason": "stop"}]})


@pytest.fixture
def server(http: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[ThinkingServer]:
    http.clear()
    monkeypatch.setenv("THINKER_BASE_URL", http.url_for("/v1"))
    thinking = ThinkingServer(chat_tokenizer("chatml").tokenizer)
    register(http, thinking, "")
    yield thinking
    http.check()


def project(files: Path) -> Project:
    experiment = scripted_experiment(
        Path(BASE),
        questioner=MODEL,
        roleplayers=[{"model": MODEL}],
        simulation={"samples": 3, "max_turns": 1},
        evaluation={"samples": 1, "arms": ["method", "no_questions"]},
        judge={"model": MODEL, "name": "oak", "method": "written"},
    )
    data_set = mini_data_set(files, gold_responses=None, oracle={"model": MODEL})
    return assemble({"mini": data_set}, {"loop": experiment}, Path("warehouse"))


def evaluate(project: Project) -> None:
    repository = project.definitions.get_repository_def()
    with open_instance() as instance:
        data = repository.get_job(data_job_name("mini"))
        data.execute_in_process(instance=instance, partition_key="test")
        evaluation = repository.get_job(job_name("loop", "evaluate"))
        evaluation.execute_in_process(instance=instance, partition_key="0|test")


@pytest.mark.slow
def test_what_a_model_thinks_goes_nowhere(server: ThinkingServer, mini: Path) -> None:
    built = project(mini)
    materialize(built, "loop")
    evaluate(built)
    gold = built.warehouse.query("from mini.gold_responses")
    conversations = tables(built, "loop")["conversations"]
    assert set(gold["exclusion"]) == {None, "truncated"}
    assert "truncated" in set(conversations["ineligibility"])
    judgements = built.warehouse.query("from loop.judgements")
    assert judgements.height > 0

    exported = export(built, "loop", "jsonl", Path("exported"))
    frames = [gold, judgements, *tables(built, "loop").values()]
    written = [*(frame.write_json() for frame in frames), *(f.read_text() for f in exported)]
    decode = server.tokenizer.decode
    assert server.asked
    assert not any(
        THOUGHT.casefold() in text.casefold()
        for text in [*written, *server.asked, *map(decode, server.scored)]
    )
    assert THOUGHT.encode() in built.warehouse.path.with_name(COMPLETIONS).read_bytes()
