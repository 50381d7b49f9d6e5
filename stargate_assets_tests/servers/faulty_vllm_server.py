"""A vLLM server that says what the scripted engine says, between faults; and a cell with every role
on it: this module as a program, with a number of answers, in a project directory kills itself, by
SIGKILL, when that many are on disk.
"""

import json
import os
import signal
import sys
from collections import Counter
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from threading import Event, Lock
from typing import Any

from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from stargate_assets.config.machine import Machine
from stargate_assets.definitions.project import Project, assemble
from stargate_assets.engines.scripted import ScriptedEngine
from stargate_assets.method.language_model import ChatRequest, Message, Sampling
from stargate_assets.storage.completions import CompletionStore
from stargate_assets.storage.sqlite import SqliteFile
from stargate_assets_tests.chat_templates import chat_tokenizer
from stargate_assets_tests.conftest import mini_data_set, scripted_experiment
from stargate_assets_tests.runs.cells import materialize
from stargate_assets_tests.servers.faulty_chat_endpoint import (
    Fault,
    answer,
    drop,
    failing,
    no_choices,
    truncated,
)
from stargate_assets_tests.servers.vllm_protocol import BASE, VllmServer, register

REQUESTS_A_FAULT = 10
"""Of so many requests one meets a fault before its answer."""


@dataclass
class FaultyVllm(VllmServer):
    """Each fault in turn meets a request, once; the content filter refuses the same ones always."""

    faulty: bool = True
    answers_left: float = float("inf")
    after_the_last: Fault | None = None
    """What a request gets then; without, no answer as long as the server runs."""
    asked: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    met: Counter[str] = field(default_factory=Counter)
    over: Event = field(default_factory=Event)
    lock: Lock = field(default_factory=Lock)

    def __post_init__(self) -> None:
        self.faults: dict[str, Fault] = {
            "rate": failing(429, "rate_limit_exceeded", retry_after="1"),
            "error": failing(500),
            "hang": self.hang,
            "drop": drop,
            "cut json": truncated,
            "no choices": no_choices,
        }
        self.next_fault = cycle(self.faults)

    def chat(self, request: Request) -> Response:
        body = json.loads(request.get_data())
        if fault := self.no_model(body["model"]):
            return fault
        if body["seed"] % 7 == 1:
            return failing(400, "content_filter")(request)
        return self.fault(request, body) or answer(said(body))

    def completions(self, request: Request) -> Response:
        return self.fault(request, json.loads(request.get_data())) or super().completions(request)

    def fault(self, request: Request, body: dict[str, Any]) -> Response | None:
        """What a request gets instead of its answer."""
        key = json.dumps(body, sort_keys=True)
        with self.lock:
            new = key not in self.asked
            self.asked[key] += 1
            fault = None
            if self.faulty and new and len(self.asked) % REQUESTS_A_FAULT == 0:
                name = next(self.next_fault)
                self.met[name] += 1
                fault = self.faults[name]
            elif self.answers_left == 0:
                fault = self.after_the_last or self.hang
            else:
                self.answers_left -= 1
                self.answered[key] += 1
        return fault and fault(request)

    def hang(self, request: Request) -> Response:
        del request
        self.over.wait(60)
        return Response(status=503)


def said(body: dict[str, Any]) -> str:
    """What the scripted engine says to a request."""
    messages = tuple(Message(m["role"], m["content"]) for m in body["messages"])
    sampling = Sampling(body["max_tokens"], body["temperature"], body["top_p"])
    ((_, completion),) = ScriptedEngine().chat([ChatRequest(messages, sampling, body["seed"])])
    return completion.text


def served_faulty_vllm(http: HTTPServer) -> FaultyVllm:
    server = FaultyVllm(chat_tokenizer("chatml").tokenizer)
    register(http, server, "")
    return server


def project(model: str = BASE) -> Project:
    """The scripted experiment with every role on the endpoint FAULTY, in the current directory."""
    spec = {"engine": "openai", "endpoint": "FAULTY", "model": model}
    roleplayers = [
        {"name": "chooser", "model": spec, "replies": "chosen"},
        {"name": "speaker", "model": spec},
    ]
    experiment = scripted_experiment(Path(model), questioner=spec, roleplayers=roleplayers)
    data_sets = {"mini": mini_data_set(Path("mini"))}
    machine = Machine(requests_at_once=8, answer_seconds=5)
    return assemble(data_sets, {"loop": experiment}, Path("warehouse"), machine)


def stored() -> int:
    return CompletionStore(SqliteFile(Path("warehouse") / "completions.sqlite")).count()


def main(enough: int) -> None:
    built = project()

    def on_progress(doing: str, done: int, total: int) -> None:
        del doing, done, total
        if stored() == enough:
            os.kill(os.getpid(), signal.SIGKILL)

    built.models.on_progress = on_progress
    materialize(built, "loop")


if __name__ == "__main__":
    main(int(sys.argv[1]))
