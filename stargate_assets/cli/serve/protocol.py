"""What clients send and are sent: OpenAI's chat completions, and what of vLLM's protocol scoring
needs.
"""

import json
import random
import time
from collections.abc import Iterator
from typing import Any, Literal
from uuid import uuid4

from pydantic import BaseModel, Field, PositiveInt

from stargate_assets.method.language_model import ChatRequest, Completion, Message, Role, Sampling

Json = dict[str, Any]
_SEEDS = 2**63


class TextPart(BaseModel):
    """A part of a message; there are no others than texts."""

    type: Literal["text"]
    text: str


class ChatMessage(BaseModel):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]

    def message(self) -> Message:
        role: Role = "system" if self.role == "developer" else self.role
        if isinstance(self.content, str):
            return Message(role, self.content)
        return Message(role, "".join(part.text for part in self.content))


class ChatBody(BaseModel):
    """A request for a chat completion. What would change the answer and cannot be had here is
    refused: several choices, stop words, tools.
    """

    model: str
    messages: list[ChatMessage] = Field(min_length=1)
    temperature: float = Field(default=1, ge=0)
    top_p: float = Field(default=1, gt=0, le=1)
    max_tokens: PositiveInt | None = None
    max_completion_tokens: PositiveInt | None = None
    seed: int | None = None
    stream: bool = False
    n: Literal[1] = 1
    stop: None = None
    tools: None = None

    def request(self, max_tokens: int) -> ChatRequest:
        """The same for an engine; `max_tokens` is the limit of who states none."""
        limit = self.max_completion_tokens or self.max_tokens or max_tokens
        seed = random.randrange(_SEEDS) if self.seed is None else self.seed
        messages = tuple(message.message() for message in self.messages)
        return ChatRequest(messages, Sampling(limit, self.temperature, self.top_p), seed)


class TokenizeBody(BaseModel):
    """Tokens of a text, or of a dialogue."""

    model: str
    prompt: str | None = None
    messages: list[ChatMessage] = []
    add_generation_prompt: bool = True
    chat_template_kwargs: Json = {}


class ScoreBody(BaseModel):
    """A completion of tokens, asked for because of the log-probabilities of its prompt."""

    model: str
    prompt: list[int] = Field(min_length=1)
    prompt_logprobs: Literal[0]


def completion_json(model: str, found: Completion) -> Json:
    """A chat completion."""
    message: Json = {"role": "assistant", "content": found.text}
    if found.thought:
        message["reasoning_content"] = found.thought
    choice = {"index": 0, "message": message, "finish_reason": _finish_reason(found)}
    total = found.prompt_tokens + found.completion_tokens
    usage = {"prompt_tokens": found.prompt_tokens, "completion_tokens": found.completion_tokens}
    head = _head(model, "chat.completion")
    return head | {"choices": [choice], "usage": usage | {"total_tokens": total}}


def completion_events(model: str, found: Completion) -> Iterator[str]:
    """The same as server-sent events. Engines hand over whole texts, so the text is one of them."""
    head = _head(model, "chat.completion.chunk")
    deltas: list[tuple[Json, str | None]] = [
        ({"role": "assistant", "content": ""}, None),
        ({"content": found.text}, None),
        ({}, _finish_reason(found)),
    ]
    for delta, ended in deltas:
        choice = {"index": 0, "delta": delta, "finish_reason": ended}
        yield f"data: {json.dumps(head | {'choices': [choice]}, ensure_ascii=False)}\n\n"
    yield "data: [DONE]\n\n"


def error_json(said: str, param: str | None = None, code: str | None = None) -> Json:
    return {
        "error": {"message": said, "type": "invalid_request_error", "param": param, "code": code}
    }


def _head(model: str, kind: str) -> Json:
    return {
        "id": f"chatcmpl-{uuid4().hex}",
        "object": kind,
        "created": int(time.time()),
        "model": model,
    }


def _finish_reason(found: Completion) -> str:
    return "content_filter" if found.finish_reason == "refused" else found.finish_reason
