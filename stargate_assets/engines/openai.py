"""Models behind OpenAI-compatible endpoints: hosted ones, and vLLM servers.

Any endpoint completes chats. Scoring needs the log-probabilities of a prompt and adapters need to
be loaded while a server runs; of servers only vLLM's do either, so these two speak its protocol.
"""

import logging
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, Field, FiniteFloat

from stargate_assets.engines.chat_answers import ChatAnswer, read_usage
from stargate_assets.engines.concurrent_calls import results_as_completed
from stargate_assets.engines.endpoint_errors import SHOWN, NotTakenError, RequestError
from stargate_assets.engines.endpoints import Endpoint, RequestLimits, Servers, endpoint
from stargate_assets.engines.engine import Checkpoint, OnText, Opening
from stargate_assets.engines.request_fields import RequestFields
from stargate_assets.engines.served_tokenizer import ServedTokenizer
from stargate_assets.engines.streamed_answers import STREAMED
from stargate_assets.engines.turns import turns
from stargate_assets.method.language_model import (
    ChatRequest,
    Completion,
    EngineError,
    FailureReason,
    Message,
    Results,
    Score,
    ScoreRequest,
    most_tokens,
)

Answer = TypeVar("Answer")
Learned = dict[str, RequestFields]
"""How requests to a model are written, where a server has not taken them as they were stated."""
_LEARNED: dict[tuple[Endpoint, str], Learned] = {}
"""By endpoint and what is stated of the model; of this process, so that a server says it once."""
_log = logging.getLogger(__name__)
PROBE = ScoreRequest((Message("user", "What should I cook tonight?"),), "Who will eat with you?")
"""Scored with and without an adapter: a server may load one and not apply it."""


class _LogProb(BaseModel):
    logprob: FiniteFloat


class _Scored(BaseModel):
    prompt_logprobs: list[dict[str, _LogProb] | None] | None = None


class _Scores(BaseModel):
    choices: list[_Scored] = Field(min_length=1)


def open_engine(opening: Opening) -> "OpenAIEngine":
    """Look up where the endpoint is; nothing is asked of it yet."""
    spec, machine = opening.spec, opening.machine
    limits = RequestLimits(machine.requests_at_once, read_seconds=machine.answer_seconds)
    at = endpoint(spec.endpoint, os.environ)
    stated = RequestFields(spec.limit_field, frozenset(spec.omit_fields), spec.field_bounds)
    learned = _LEARNED.setdefault((at, spec.model_dump_json()), {})
    engine = OpenAIEngine
    if spec.batch:
        from stargate_assets.engines.openai_batches import OpenAIBatchEngine  # built on this module

        engine = OpenAIBatchEngine
        if len(at.base_urls) > 1:
            raise EngineError(
                f"A batch is at one server, and {at.label}_BASE_URL names several; leave one, or "
                f"leave out batch: true where the experiment names {spec.model}."
            )
    return engine(spec.model, at, stated, limits, spec.chat_template_kwargs, learned)


@dataclass(slots=True)
class OpenAIEngine:
    """`model` is what the server calls it. `stated` is how its requests are to be written, and
    `learned` how they are, by model, where the server did not take that. `chat_template_kwargs` go
    out where there are any. `base` is the model without an adapter.
    """

    model: str
    endpoint: Endpoint
    stated: RequestFields
    limits: RequestLimits
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    learned: Learned = field(default_factory=Learned, compare=False)
    base: str = ""

    def __post_init__(self) -> None:
        self.base = self.base or self.model

    def use(self, checkpoint: Checkpoint | None) -> None:
        """Ask the base model (None), or an adapter that every server is made to load first."""
        if checkpoint is None:
            self.model = self.base
        else:
            base = replace(self, model=self.base)
            self.model = base.load_adapter(checkpoint.path, checkpoint.sha256).model

    def close(self) -> None:
        """Nothing is held between calls."""

    def chat(self, requests: Sequence[ChatRequest]) -> Results[Completion]:
        """Completions in the order in which they end. A request that has no answer has the finish
        reason `refused`, no text, and a failure that says why; it is sent once, so that whoever
        pays decides whether it is sent again. Raises EngineError for what is wrong with the
        endpoint.
        """
        return self._chat(requests, None)

    def stream(self, request: ChatRequest, on_text: OnText) -> Results[Completion]:
        """The same as of `chat`, a piece at a time; whole from a server that does not take that."""
        return self._chat([request], on_text)

    def _chat(self, requests: Sequence[ChatRequest], on_text: OnText | None) -> Results[Completion]:
        has_system_role = self.has_system_role(requests)

        async def complete(servers: Servers, request: ChatRequest) -> Completion:
            return await self._complete(servers, request, has_system_role, on_text)

        yield from results_as_completed(self._servers, complete, requests, self.limits.at_once)

    def score(self, requests: Sequence[ScoreRequest]) -> Results[Score]:
        """Log-probabilities by a vLLM server: the context as its chat template renders it, then the
        tokens of the continuation. What is too long for the model has a failure and no
        log-probabilities. Raises EngineError, also where the server does not give them.
        """
        if not requests:
            return
        has_system_role, end = self.has_system_role(requests), list[int]()
        known = self._once(lambda tokenizer: tokenizer.turns())
        if any(request.end_of_turn for request in requests):
            end = self._once(lambda tokenizer: tokenizer.end_of_turn_ids())

        async def score(servers: Servers, request: ScoreRequest) -> Score:
            try:
                context, said = await self._tokenizer(servers).scored(
                    request.messages, request.continuation, has_system_role, known
                )
                ends = end if request.end_of_turn else []
                return await self._score(servers, context, said + ends)
            except RequestError as error:
                if error.failure.reason is FailureReason.TOO_LONG:
                    return Score.failed(error.failure)
                raise  # the server does not score

        yield from results_as_completed(self._servers, score, requests, self.limits.at_once)

    def load_adapter(self, adapter: Path, sha256: str) -> "OpenAIEngine":
        """This model with a LoRA adapter, which every server of the endpoint is made to load from
        its directory. Its name there is made from its hash, so a name never means two adapters.
        Raises EngineError.
        """
        policy = replace(self, model=f"policy-{sha256[:16]}")
        for url in self.endpoint.base_urls:
            alone = replace(self.endpoint, base_urls=(url,))
            base, changed = replace(self, endpoint=alone), replace(policy, endpoint=alone)
            list(results_as_completed(changed._servers, changed._load, [adapter.resolve()], 1))
            if list(changed.score([PROBE])) == list(base.score([PROBE])):
                raise EngineError(
                    f"The endpoint {self.endpoint.label} loaded the adapter {adapter} and does "
                    "not apply it; give it a vLLM server whose model it was trained from."
                )
        return policy

    def _servers(self) -> Servers:
        return Servers(self.endpoint, self.model, self.limits)

    def _tokenizer(self, servers: Servers) -> ServedTokenizer:
        return ServedTokenizer(servers, self.model, self._cannot_score, self.chat_template_kwargs)

    def _once(self, question: Callable[[ServedTokenizer], Awaitable[Answer]]) -> Answer:
        """What the endpoint says once for many requests."""
        return self.ask_servers(lambda servers: question(self._tokenizer(servers)))

    def ask_servers(self, question: Callable[[Servers], Awaitable[Answer]]) -> Answer:
        """The answer to one question."""

        async def ask(servers: Servers, request: None) -> Answer:
            del request
            return await question(servers)

        ((_, answer),) = results_as_completed(self._servers, ask, [None], 1)
        return answer

    def has_system_role(self, requests: Sequence[ChatRequest] | Sequence[ScoreRequest]) -> bool:
        if not any(message.role == "system" for r in requests for message in r.messages):
            return True
        return self._once(lambda tokenizer: tokenizer.has_system_role())

    async def _complete(
        self, servers: Servers, request: ChatRequest, has_system_role: bool, on_text: OnText | None
    ) -> Completion:
        most = most_tokens(request)
        try:
            answer = await self._answer(servers, request, has_system_role, on_text)
        except RequestError as error:
            return self.refused(error, most)
        return self.masked(servers, answer.completion(most))

    def refused(self, error: RequestError, most: tuple[int, int]) -> Completion:
        """What comes of a request that has no answer; `most` are its tokens at most."""
        prompt, completion, estimated = 0, 0, False
        if error.paid:
            prompt, completion, estimated = read_usage(error.usage, most)
        return Completion(
            "", "refused", prompt, completion, estimated=estimated, failure=error.failure
        )

    def masked(self, servers: Servers, found: Completion) -> Completion:
        """The completion, without the key in what a server says."""
        if found.failure is None:
            return found
        said = servers.mask(found.failure.said)[:SHOWN]
        return replace(found, failure=replace(found.failure, said=said))

    async def _answer(
        self, servers: Servers, request: ChatRequest, has_system_role: bool, on_text: OnText | None
    ) -> ChatAnswer:
        """Ask without what the server says it does not take, a field at a time. What was taken is
        remembered. Raises as `Servers.ask_once`.
        """
        fields = before = self.learned.get(self.model, self.stated)
        said = list[str]()
        while True:
            body = self.body(request, has_system_role, fields)
            try:
                answer = await servers.ask_once(
                    "chat/completions", body, ChatAnswer, self.missing, on_text
                )
            except NotTakenError as error:
                if on_text is not None and not error.named.isdisjoint(STREAMED):
                    on_text = None
                    continue
                fewer = fields.without(error.named, request)
                if fewer is None or fewer.limit == before.limit != fields.limit:
                    raise  # there is nothing left to leave out, and a limit has two names
                fields = fewer
                said.append(error.failure.said)
            else:
                self.remember(fields, before, said)
                return answer

    def body(
        self, request: ChatRequest, has_system_role: bool, fields: RequestFields
    ) -> dict[str, Any]:
        """What the endpoint is sent."""
        messages = turns(request.messages, has_system_role)
        body: dict[str, Any] = {"model": self.model, "messages": messages}
        if self.chat_template_kwargs:
            body["chat_template_kwargs"] = self.chat_template_kwargs
        return body | fields.values(request)

    @property
    def missing(self) -> str:
        """What to do where the endpoint has no such model."""
        return (
            f"The endpoint {self.endpoint.label} has no model {self.model!r}; correct its name, or "
            f"{self.endpoint.label}_BASE_URL, which mostly ends in /v1"
        )

    def remember(self, fields: RequestFields, before: RequestFields, said: list[str]) -> None:
        """Write the next requests like one that was taken, and say so once."""
        if fields == before:
            return
        known = self.learned.get(self.model, self.stated)
        self.learned[self.model] = now = known.merge(fields, before)
        for change, statement in now.describe_changes(known):
            _log.warning(
                "The endpoint %s does not take %s (it says: %s). State %s where the experiment "
                "names %s.",
                *(self.endpoint.label, change, "; ".join(said), statement, self.model),
            )

    async def _score(self, servers: Servers, prompt: list[int], said: list[int]) -> Score:
        body = {
            "model": self.model,
            "prompt": prompt + said,
            "max_tokens": 1,  # the fewest that vLLM takes
            "temperature": 0,
            "prompt_logprobs": 0,  # each token's own
        }
        scores = await servers.ask("completions", body, _Scores, self._cannot_score)
        positions = scores.choices[0].prompt_logprobs
        if positions is None or len(positions) != len(body["prompt"]):
            raise EngineError(f"{self._cannot_score}.")
        found = [
            position[str(token)].logprob
            for token, position in zip(said, positions[len(prompt) :], strict=True)
            if position is not None and str(token) in position
        ]
        if len(found) < len(said):
            raise EngineError(f"{self._cannot_score}.")
        return Score(tuple(found), len(prompt))

    async def _load(self, servers: Servers, adapter: Path) -> None:
        body = {"lora_name": self.model, "lora_path": str(adapter)}
        missing = (
            f"The endpoint {self.endpoint.label} could not load the adapter {adapter}; it must be "
            "a vLLM server with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True that sees "
            "this directory"
        )
        if self.model not in await servers.models(missing):
            await servers.post("load_lora_adapter", body, missing)

    @property
    def _cannot_score(self) -> str:
        return (
            f"The endpoint {self.endpoint.label} gives no log-probabilities of prompts for "
            f"{self.model!r}, which scoring needs; serve the model with vLLM, or use engine: "
            "transformers for this role"
        )
