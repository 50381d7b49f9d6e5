"""The part of vLLM's protocol that scoring and adapters need, with a real tokenizer and invented
log-probabilities.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from stargate_assets_tests.servers.faulty_chat_endpoint import answer, reply

BASE = "served"


def log_prob(model: str, ids: Sequence[int], position: int) -> float:
    """Of the token at a position, in nats: a function of all before it."""
    return -1 - (sum(ids[: position + 1]) % 97) / 10 - (model != BASE)


@dataclass
class VllmServer:
    tokenizer: Any
    loads_adapters: bool = True
    applies_adapters: bool = True
    room: int = 10_000
    """Tokens of the longest prompt."""
    loaded: list[dict[str, str]] = field(default_factory=list)
    scored: list[list[int]] = field(default_factory=list)
    chats: list[list[dict[str, str]]] = field(default_factory=list)

    def tokenize(self, request: Request) -> Response:
        body = json.loads(request.get_data())
        if fault := self.no_model(body["model"]):
            return fault
        if "prompt" in body:
            text = body["prompt"]
        else:
            try:
                text = self.tokenizer.apply_chat_template(
                    body["messages"],
                    tokenize=False,
                    add_generation_prompt=body["add_generation_prompt"],
                    **body.get("chat_template_kwargs", {}),
                )
            except TemplateError as error:
                return refused(400, str(error))
        ids = self.tokenizer(text, add_special_tokens=body["add_special_tokens"]).input_ids
        strings = self.tokenizer.convert_ids_to_tokens(ids)
        shown = strings if body.get("return_token_strs") else None
        return reply({"count": len(ids), "max_model_len": 9, "tokens": ids, "token_strs": shown})

    def completions(self, request: Request) -> Response:
        body = json.loads(request.get_data())
        ids, applied = body["prompt"], body["model"] if self.applies_adapters else BASE
        if fault := self.no_model(body["model"]):
            return fault
        if len(ids) >= self.room:
            said = f"This model's maximum context length is {self.room} tokens. However, you"
            return refused(
                400, f"{said} requested {len(ids) + 1} tokens. Please reduce the length."
            )
        self.scored.append(ids)
        positions: list[Any] = [None]
        for position in range(1, len(ids)):
            found = {"logprob": log_prob(applied, ids, position), "rank": 2, "decoded_token": "?"}
            positions.append({str(ids[position]): found})
        choice = {"index": 0, "text": "x", "finish_reason": "length", "prompt_logprobs": positions}
        return reply({"id": "1", "object": "text_completion", "choices": [choice]})

    def chat(self, request: Request) -> Response:
        body = json.loads(request.get_data())
        if fault := self.no_model(body["model"]):
            return fault
        self.chats.append(body["messages"])
        return answer("Hm.")

    def models(self, request: Request) -> Response:
        del request
        models = [{"id": name, "object": "model"} for name in self.names]
        return reply({"object": "list", "data": models})

    @property
    def names(self) -> list[str]:
        """What it serves."""
        return [BASE, *(adapter["lora_name"] for adapter in self.loaded)]

    def no_model(self, name: str) -> Response | None:
        """Its answer to a request for a model that it does not serve."""
        if name in self.names:
            return None
        aliases = ", ".join(self.names)
        return refused(404, f"The model `{name}` does not exist. Valid aliases: {aliases}.")

    def load_adapter(self, request: Request) -> Response:
        body = json.loads(request.get_data())
        if not self.loads_adapters:
            return reply({"detail": "Not Found"}, 404)
        if not (Path(body["lora_path"]) / "adapter_config.json").exists():
            failed = f"Loading lora {body['lora_name']} failed: No adapter found for"
            return refused(404, f"{failed} {body['lora_path']}")
        if body["lora_name"] in self.names:
            return refused(400, f"The lora adapter '{body['lora_name']}' has already been loaded.")
        self.loaded.append(body)
        return Response(f"Success: LoRA adapter '{body['lora_name']}' added successfully.")


def refused(status: int, message: str) -> Response:
    kind = {400: "BadRequestError", 404: "NotFoundError"}[status]
    error = {"message": message, "type": kind, "param": None, "code": status}
    return reply({"error": error}, status)


def served_vllm(http: HTTPServer, tokenizer: Any, root: str = "") -> VllmServer:
    server = VllmServer(tokenizer)
    register(http, server, root)
    return server


def register(http: HTTPServer, server: VllmServer, root: str) -> None:
    """At `root`/v1, with /tokenize beside it."""
    for path, handler in {
        f"{root}/tokenize": server.tokenize,
        f"{root}/v1/completions": server.completions,
        f"{root}/v1/chat/completions": server.chat,
        f"{root}/v1/models": server.models,
        f"{root}/v1/load_lora_adapter": server.load_adapter,
    }.items():
        http.expect_request(path).respond_with_handler(handler)
