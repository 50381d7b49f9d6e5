"""OpenAI's batch interface on loopback: files and batches that fail as they are told to. It counts
what a provider would send a bill for.
"""

import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Literal

from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from stargate_assets.config.machine import Price
from stargate_assets.engines.endpoints import Endpoint, RequestLimits
from stargate_assets.engines.openai_batches import OpenAIBatchEngine
from stargate_assets.engines.request_fields import RequestFields
from stargate_assets.models.stored import StoredModel
from stargate_assets.storage.completions import CompletionStore
from stargate_assets.storage.database import Database
from stargate_assets_tests.conftest import USE
from stargate_assets_tests.servers.faulty_chat_endpoint import KEY, Fault, answer, reply

Step = Literal["upload", "create", "list", "look", "content"]
PRICE = Price.model_validate(
    {"model": "m", "prompt": 10_000, "completion": 10_000, "batch": 0.5, "as_of": "2024-01-01"}
)
"""A cent for each token, and half a cent in batches."""
TOKENS = 5
"""Of each answer, its prompt included."""


@dataclass
class BatchServer:
    """Each batch ends as the next of `ends` says, or completed; of one that ends early, the first
    half is answered. `lines[prompt]` are what becomes of a prompt in place of its answer, batch by
    batch: the rest of its line, or None for no line at all. `faults` are answers to steps before
    the right ones, and `on_step` is told of each step before it is taken, and after.
    """

    url: str
    ends: list[str] = field(default_factory=list[str])
    lines: dict[str, list[dict[str, Any] | None]] = field(default_factory=dict)
    faults: dict[tuple[Step, str], list[Fault]] = field(default_factory=dict)
    on_step: Callable[[Step, str], None] = lambda *_: None
    say: Callable[[str], str] = "{}!".format
    """The right answer to a prompt."""
    looks: int = 1
    """At each batch, before it ends."""
    steps: list[Step] = field(default_factory=list[Step])
    files: dict[str, bytes] = field(default_factory=dict[str, bytes])
    batches: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    billed: Counter[str] = field(default_factory=Counter[str])
    """Prompts that were answered."""
    lock: Lock = field(default_factory=Lock)

    def respond(self, request: Request) -> Response:
        path = request.path.removeprefix("/v1/")
        take = {"POST files": self.upload, "POST batches": self.create, "GET batches": self.page}
        names: dict[str, Step] = {
            "POST files": "upload",
            "POST batches": "create",
            "GET batches": "list",
        }
        step = names.get(f"{request.method} {path}", "look" if "batches" in path else "content")
        if fault := self.find_fault(step, "before"):
            return fault(request)
        with self.lock:
            self.steps.append(step)
            done = take.get(f"{request.method} {path}", self.show)(request)
        fault = self.find_fault(step, "after")
        return fault(request) if fault else done

    def find_fault(self, step: Step, moment: str) -> Fault | None:
        self.on_step(step, moment)
        faults = self.faults.get((step, moment))
        return faults.pop(0) if faults else None

    def upload(self, request: Request) -> Response:
        assert request.form["purpose"] == "batch"
        file_id = f"file-{sum(name.startswith('file-') for name in self.files)}"
        self.files[file_id] = request.files["file"].read()
        return reply({"id": file_id, "object": "file"})

    def create(self, request: Request) -> Response:
        stated = json.loads(request.get_data())
        assert stated["completion_window"] == "24h" and stated["input_file_id"] in self.files
        batch_id = f"batch-{len(self.batches)}"
        self.batches[batch_id] = batch = {
            "id": batch_id,
            "object": "batch",
            "status": "validating",
            "input_file_id": stated["input_file_id"],
            "looks": self.looks,
        }
        return reply(batch)

    def page(self, request: Request) -> Response:
        """The newest first, two on a page."""
        known = list(self.batches)[::-1]
        start = known.index(request.args["after"]) + 1 if "after" in request.args else 0
        data = [self.batches[name] for name in known[start : start + 2]]
        return reply({"object": "list", "data": data, "has_more": start + 2 < len(known)})

    def show(self, request: Request) -> Response:
        kind, name = request.path.removeprefix("/v1/").split("/")[:2]
        if kind == "files":
            return Response(self.files[name], content_type="application/jsonl")
        if name not in self.batches:
            return reply({"error": {"message": "No such batch."}}, 404)
        batch = self.batches[name]
        if batch["looks"] == 0 and batch["status"] in ("validating", "in_progress"):
            self.end(batch, self.ends.pop(0) if self.ends else "completed")
        elif batch["looks"]:
            batch |= {"looks": batch["looks"] - 1, "status": "in_progress"}
        return reply(batch, Retry_After="0")

    def end(self, batch: dict[str, Any], status: str) -> None:
        """Write what comes of a batch, in another order than that of its requests."""
        batch["status"] = status
        if status == "failed":
            batch["errors"] = {"data": [{"code": "token_limit_exceeded", "message": "Too many."}]}
            return
        asked = [json.loads(line) for line in self.files[batch["input_file_id"]].splitlines()]
        tried = len(asked) if status == "completed" else len(asked) // 2
        written: dict[str, list[str]] = {"output_file_id": [], "error_file_id": []}
        for number, line in enumerate(asked):
            prompt = line["body"]["messages"][-1]["content"]
            said: dict[str, Any] | None = None
            if number >= tried:
                said = {"response": None, "error": {"code": f"batch_{status}", "message": status}}
            elif self.lines.get(prompt):
                said = self.lines[prompt].pop(0)
                if said is None:
                    continue
            file = "error_file_id" if said else "output_file_id"
            if said is None:
                self.billed[prompt] += 1
                body = json.loads(answer(self.say(prompt)).get_data())
                said = {"response": {"status_code": 200, "body": body}, "error": None}
            written[file].append(json.dumps({"custom_id": line["custom_id"], **said}))
        for file, lines in written.items():
            if lines:
                batch[file] = f"{file}-{batch['id']}"
                self.files[batch[file]] = "\n".join(reversed(lines)).encode()

    @property
    def sent(self) -> Counter[str]:
        """How often each prompt was in a batch."""
        files = [self.files[batch["input_file_id"]] for batch in self.batches.values()]
        lines = [json.loads(line) for file in files for line in file.splitlines()]
        return Counter(line["body"]["messages"][-1]["content"] for line in lines)

    def model(self, database: Database, **changes: Any) -> StoredModel:
        return batch_model(self.url, database, **changes)


def batch_model(url: str, database: Database, **changes: Any) -> StoredModel:
    """A model that is asked in batches, and costs what `PRICE` says."""
    at = Endpoint("HERE", (url,), KEY)
    engine = OpenAIBatchEngine("judge-1", at, RequestFields(), RequestLimits(retries=3))
    stated: dict[str, Any] = {"price": PRICE.in_batches, "on_progress": lambda *_: None}
    store = CompletionStore(database)
    return StoredModel("judge", store, lambda: engine, use=USE, **(stated | changes))


def error_line(status: int, code: str, param: str | None = None) -> dict[str, Any]:
    """A line whose request the model's endpoint has answered with an error."""
    error = {"message": f"No, {KEY}.", "code": code, "param": param}
    return {"response": {"status_code": status, "body": {"error": error}}, "error": None}


def serve_batches(http: HTTPServer) -> BatchServer:
    server = BatchServer(http.url_for("/v1"))
    http.expect_request(re.compile("/v1/(files|batches)")).respond_with_handler(server.respond)
    http.expect_request("/tokenize", "POST").respond_with_data("", 404)
    return server
