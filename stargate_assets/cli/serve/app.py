"""An OpenAI-compatible server of one policy, over the engine that it was evaluated with."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from jinja2 import TemplateError
from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from stargate_assets.cli.serve.batches import Batches
from stargate_assets.cli.serve.protocol import (
    ChatBody,
    Json,
    ScoreBody,
    TokenizeBody,
    completion_events,
    completion_json,
    error_json,
)
from stargate_assets.config.model_spec import first_fault
from stargate_assets.engines.engine import Engine
from stargate_assets.engines.prefixes import Tokens
from stargate_assets.engines.transformers import TransformersEngine
from stargate_assets.method.language_model import (
    ChatRequest,
    Completion,
    EngineError,
    Failure,
    FailureReason,
    Score,
)

Body = TypeVar("Body", bound=BaseModel)
TOO_LONG = "context_length_exceeded"
JSON_TYPE = "application/json"


class ServedPolicy:
    """The handlers of what any engine can do."""

    def __init__(self, name: str, engine: Engine, max_tokens: int):
        self.name, self.max_tokens = name, max_tokens
        self.thread = ThreadPoolExecutor(1)
        self.chats: Batches[ChatRequest, Completion] = Batches(engine.chat, self.thread)

    def routes(self) -> list[Route]:
        return [
            Route("/v1/models", self.models),
            Route("/v1/chat/completions", self.chat, methods=["POST"]),
        ]

    async def models(self, request: Request) -> Response:
        del request
        data = [{"id": self.name, "object": "model", "created": 0, "owned_by": "stargate"}]
        return JSONResponse({"object": "list", "data": data})

    async def chat(self, request: Request) -> Response:
        body = await self.read(request, ChatBody)
        found = await self.chats.ask(body.request(self.max_tokens))
        if found.failure is not None:
            return _tell_failure(found.failure)
        if body.stream:
            events: Iterator[str] = completion_events(self.name, found)
            return StreamingResponse(events, media_type="text/event-stream")
        return JSONResponse(completion_json(self.name, found))

    async def read(self, request: Request, kind: type[Body]) -> Body:
        """What was sent. Pages of other sites may not send JSON without asking first, so nothing
        else is taken.
        """
        if request.headers.get("content-type", "").partition(";")[0].strip() != JSON_TYPE:
            raise HTTPException(415, f"Send {JSON_TYPE}.")
        body = kind.model_validate_json(await request.body())
        stated = body.model_dump()["model"]
        if stated != self.name:
            raise HTTPException(
                404, f"The model {stated!r} does not exist; there is {self.name!r}."
            )
        return body


class ScoredPolicy(ServedPolicy):
    """They, and those of what scoring needs."""

    def __init__(self, name: str, engine: TransformersEngine, max_tokens: int):
        super().__init__(name, engine, max_tokens)
        self.tokenizer = engine.tokenizer
        self.scores: Batches[Tokens, Score] = Batches(
            lambda sequences: engine.score_tokens(sequences, [1] * len(sequences)), self.thread
        )

    def routes(self) -> list[Route]:
        return [
            *super().routes(),
            Route("/tokenize", self.tokenize, methods=["POST"]),
            Route("/v1/completions", self.score, methods=["POST"]),
        ]

    async def tokenize(self, request: Request) -> Response:
        body = await self.read(request, TokenizeBody)
        plain, control = self.tokenizer.tokenizer, self.tokenizer.control_tokens
        text = body.prompt
        if text is None:
            said = [m.message() for m in body.messages]
            try:
                text = plain.apply_chat_template(
                    [{"role": m.role, "content": control.hide(m.content)} for m in said],
                    tokenize=False,
                    add_generation_prompt=body.add_generation_prompt,
                    **{**self.tokenizer.template_arguments, **body.chat_template_kwargs},
                )
            except TemplateError as error:
                raise HTTPException(400, str(error)) from error
        ids = list(control.ids(text))
        return JSONResponse({"tokens": ids, "token_strs": plain.convert_ids_to_tokens(ids)})

    async def score(self, request: Request) -> Response:
        body = await self.read(request, ScoreBody)
        found = await self.scores.ask(tuple(body.prompt))
        if found.failure is not None:
            return _tell_failure(found.failure)
        positions: list[Json | None] = [None]
        for token, log_prob in zip(body.prompt[1:], found.log_probs, strict=True):
            positions.append({str(token): {"logprob": log_prob}})
        choice = {"index": 0, "text": "", "finish_reason": "length", "prompt_logprobs": positions}
        return JSONResponse({"object": "text_completion", "choices": [choice]})


def make_app(name: str, engine: Engine, max_tokens: int) -> Starlette:
    """The server of a policy under a name; `max_tokens` is the limit of who states none."""
    if isinstance(engine, TransformersEngine):
        policy = ScoredPolicy(name, engine, max_tokens)
    else:
        policy = ServedPolicy(name, engine, max_tokens)
    handlers: Any = {
        ValidationError: _tell_fault,
        EngineError: _tell_engine_error,
        HTTPException: _tell,
    }
    return Starlette(routes=policy.routes(), exception_handlers=handlers)


def _tell_failure(failure: Failure) -> Response:
    """Why one request has no answer, in the words by which clients know what is too long."""
    code = TOO_LONG if failure.reason is FailureReason.TOO_LONG else None
    return JSONResponse(error_json(failure.said, code=code), 400)


async def _tell_fault(request: Request, error: ValidationError) -> Response:
    del request
    where = ".".join(map(str, error.errors()[0]["loc"])) or None
    return JSONResponse(error_json(first_fault(error), where), 400)


async def _tell_engine_error(request: Request, error: EngineError) -> Response:
    del request
    return JSONResponse(error_json(str(error)), 400)


async def _tell(request: Request, error: HTTPException) -> Response:
    del request
    return JSONResponse(error_json(error.detail), error.status_code)
