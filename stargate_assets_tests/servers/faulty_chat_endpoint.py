"""A chat endpoint on loopback that fails as it is told to, and remembers what it was asked."""

import json
import socket
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock
from time import monotonic
from typing import Any

from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from stargate_assets.engines.endpoints import Endpoint, RequestLimits
from stargate_assets.engines.openai import OpenAIEngine
from stargate_assets.engines.request_fields import RequestFields
from stargate_assets.method.language_model import ChatRequest, Completion, Message, Sampling
from stargate_assets.models.stored import StoredModel
from stargate_assets.storage.completions import CompletionStore
from stargate_assets.storage.sqlite import SqliteFile
from stargate_assets_tests.conftest import USE

KEY = "sk-a-very-secret-key"
Fault = Callable[[Request], Response]


@dataclass
class FaultServer:
    """`faults[prompt]` are the answers to a prompt before the right one."""

    url: str
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    always: Fault | None = None
    answers_left: float = float("inf")
    """After these, a call gets no answer as long as the server runs."""
    after_the_last: Fault | None = None
    """What a call gets instead."""
    asked: list[tuple[str, float]] = field(default_factory=list)
    """Prompts, and when they came."""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    answered: Counter[str] = field(default_factory=Counter)
    say: Callable[[str], str] = "{}!".format
    """The right answer to a prompt."""
    over: Event = field(default_factory=Event)
    lock: Lock = field(default_factory=Lock)

    def respond(self, request: Request) -> Response:
        body = json.loads(request.get_data())
        prompt = body["messages"][-1]["content"]
        with self.lock:
            self.asked.append((prompt, monotonic()))
            self.bodies.append(body)
            faults = self.faults.get(prompt)
            fault = faults.pop(0) if faults else self.always
            if fault is None and self.answers_left == 0:
                fault = self.after_the_last or self.hang
            if fault is None:
                self.answers_left -= 1
                self.answered[prompt] += 1
        return answer(self.say(prompt)) if fault is None else fault(request)

    def hang(self, request: Request) -> Response:
        del request
        self.over.wait(30)
        return Response(status=503)

    def times_asked(self, prompt: str) -> int:
        return sum(asked == prompt for asked, _ in self.asked)

    def engine(self, **limits: Any) -> OpenAIEngine:
        at = Endpoint("HERE", (self.url,), KEY)
        return OpenAIEngine(
            "judge-1", at, RequestFields(), RequestLimits(**{"retries": 3} | limits)
        )

    def model(self, path: Path, **limits: Any) -> StoredModel:
        store = CompletionStore(SqliteFile(path / "completions.sqlite"))
        return StoredModel("judge", store, lambda: self.engine(**limits), lambda *_: None, USE)


def served(http: HTTPServer, root: str = "/v1") -> FaultServer:
    faulty = FaultServer(http.url_for(root))
    where = http.expect_request(f"{root}/chat/completions", "POST")
    where.respond_with_handler(faulty.respond)
    return faulty


def requests(*prompts: str) -> list[ChatRequest]:
    return [ChatRequest((Message("user", p),), Sampling(9, 0.5, 0.9), 7) for p in prompts]


def right(*prompts: str) -> list[Completion]:
    """What the server answers to these prompts."""
    return [Completion(f"{prompt}!", "stop", 3, 2) for prompt in prompts]


def reply(content: object, status: int = 200, **headers: str) -> Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(json.dumps(content), status, named, content_type="application/json")


def answer(text: str | None, finish_reason: str = "stop", refusal: str | None = None) -> Response:
    message = {"role": "assistant", "content": text, "refusal": refusal}
    choice = {"index": 0, "message": message, "finish_reason": finish_reason}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    return reply({"id": "1", "object": "chat.completion", "choices": [choice], "usage": usage})


def failing(
    status: int, code: str | None = None, param: str | None = None, **headers: str
) -> Fault:
    """An error as OpenAI writes it, with a message that gives the key away."""
    error = {"message": f"No, {KEY}.", "type": "an_error", "param": param, "code": code}
    return lambda request: reply({"error": error}, status, **headers)


def saying(response: Callable[[], Response]) -> Fault:
    return lambda request: response()


def drop(request: Request) -> Response:
    request.environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
    return Response()


def promise_more(request: Request) -> Response:
    """Drops the connection in the middle of an answer."""
    connection = request.environ["werkzeug.socket"]
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{")
    return drop(request)


def no_http(request: Request) -> Response:
    request.environ["werkzeug.socket"].sendall(b"SSH-2.0-OpenSSH_9.9\r\n\r\n")
    return drop(request)


def truncated(request: Request) -> Response:
    del request
    return Response('{"choices": [{"mess', content_type="application/json")


def no_choices(request: Request) -> Response:
    del request
    return reply({"choices": []})


def assert_no_secret(directory: Path, printed: str = "") -> None:
    everything = [printed.encode(), *(p.read_bytes() for p in directory.iterdir() if p.is_file())]
    assert not any(KEY.encode() in text or b"127.0.0.1" in text for text in everything)
