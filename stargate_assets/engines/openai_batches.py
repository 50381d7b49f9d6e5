"""Models behind endpoints that take requests in files: OpenAI's /v1/files and /v1/batches, and what
other servers offer under the same names.

To create a batch costs money, and nothing else here does. So a file is uploaded first and its id
written down by the caller; a batch whose creation nobody has heard of is looked for by that id.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import httpx2
import openai
from pydantic import BaseModel, JsonValue

from stargate_assets.engines.batch_files import PATH, BatchFile, Line, read_lines, write_files
from stargate_assets.engines.chat_answers import ChatAnswer
from stargate_assets.engines.concurrent_calls import results_as_completed
from stargate_assets.engines.connections import LostAnswerError
from stargate_assets.engines.endpoint_errors import KEPT, SHOWN, NotTakenError, RequestError, quote
from stargate_assets.engines.endpoints import Servers, ask_again
from stargate_assets.engines.engine import BatchResult, BatchState
from stargate_assets.engines.openai import OpenAIEngine
from stargate_assets.method.language_model import (
    ChatRequest,
    Completion,
    EngineError,
    Failure,
    FailureReason,
    most_tokens,
)

_PASSING = (
    LostAnswerError,
    openai.APIConnectionError,
    openai.RateLimitError,
    openai.InternalServerError,
)
_ENDED = ("failed", "completed", "expired", "cancelled")
_UNKNOWN = "unknown"
"""The status of a batch that the endpoint does not know."""
_WHY_NOT = {
    "batch_expired": FailureReason.EXPIRED,
    "expired": FailureReason.EXPIRED,
    "batch_cancelled": FailureReason.CANCELLED,
    "cancelled": FailureReason.CANCELLED,
    _UNKNOWN: FailureReason.LOST,
}
"""Why a request was not tried, by the code of its line or the status of its batch."""


class _Uploaded(BaseModel):
    id: str


class _Counts(BaseModel):
    completed: int = 0
    failed: int = 0


class _Batch(BaseModel):
    id: str
    status: str = "validating"
    input_file_id: str = ""
    output_file_id: str | None = None
    error_file_id: str | None = None
    request_counts: _Counts | None = None
    errors: JsonValue = None


class _Page(BaseModel):
    data: list[_Batch]
    has_more: bool = False


class OpenAIBatchEngine(OpenAIEngine):
    """The same model, asked by whoever keeps an account of batches (`engine.BatchEngine`)."""

    __slots__ = ()

    def files(self, requests: Mapping[str, ChatRequest]) -> Iterator[BatchFile]:
        has_system_role = self.has_system_role(list(requests.values()))
        fields = self.learned.get(self.model, self.stated)
        return write_files(
            (key, self.body(request, has_system_role, fields)) for key, request in requests.items()
        )

    def upload(self, file: BatchFile) -> str:
        async def upload(servers: Servers) -> str:
            named = ("requests.jsonl", file.content, "application/jsonl")
            call = servers.clients[0].files.with_raw_response.create(file=named, purpose="batch")
            said = (await servers.translate_errors(call, self._no_batches)).content
            return servers.read(said, _Uploaded, self._no_batches).id

        return self.ask_servers(lambda servers: ask_again(lambda: upload(servers)))

    def create(self, file_id: str) -> str:
        return self.ask_servers(
            lambda servers: servers.translate_errors(
                self._create(servers, file_id), self._no_batches
            )
        )

    def find(self, file_id: str) -> str | None:
        async def find(servers: Servers) -> str | None:
            call = self._find(servers, file_id)
            return await servers.translate_errors(call, self._no_batches)

        return self.ask_servers(lambda servers: ask_again(lambda: find(servers)))

    async def _create(self, servers: Servers, file_id: str) -> str:
        """Raises the SDK's errors, and EngineError for what cannot be read. Whatever went wrong,
        the batch may have been created: it is looked for before it is created again.
        """
        client = servers.clients[0].with_options(max_retries=0)
        for attempt in range(self.limits.retries + 1):
            try:
                if attempt and (found := await self._find(servers, file_id)):
                    return found
                said = await client.batches.with_raw_response.create(
                    input_file_id=file_id, endpoint=PATH, completion_window="24h"
                )
                return servers.read(said.content, _Batch, self._no_batches).id
            except _PASSING as error:
                if attempt == self.limits.retries or _is_final(error):
                    raise
            await asyncio.sleep(min(8.0, 0.1 * 2**attempt))
        raise AssertionError

    async def _find(self, servers: Servers, file_id: str) -> str | None:
        """The batch of a file, among all that the account has, the newest first."""
        after: dict[str, str] = {}
        while True:
            said = await _get(servers, "/batches", {"limit": "100", **after})
            page = servers.read(said.content, _Page, self._no_batches)
            for batch in page.data:
                if batch.input_file_id == file_id:
                    return batch.id
            if not (page.has_more and page.data):
                return None
            after = {"after": page.data[-1].id}

    def look(self, ids: Sequence[str]) -> list[BatchState]:
        async def look(servers: Servers, batch_id: str) -> BatchState:
            return await ask_again(lambda: self._look(servers, batch_id))

        found = results_as_completed(self._servers, look, ids, self.limits.at_once)
        return [state for _, state in sorted(found, key=lambda pair: pair[0])]

    async def _look(self, servers: Servers, batch_id: str) -> BatchState:
        async def ask() -> httpx2.Response | None:
            try:
                return await _get(servers, f"/batches/{batch_id}")
            except openai.NotFoundError:
                return None

        said = await servers.translate_errors(ask(), self._no_batches)
        if said is None:
            return BatchState(batch_id, _UNKNOWN, has_ended=True)
        batch = servers.read(said.content, _Batch, self._no_batches)
        counts = batch.request_counts or _Counts()
        return BatchState(
            batch_id,
            batch.status,
            batch.status in _ENDED,
            counts.completed + counts.failed,
            tuple(file for file in (batch.output_file_id, batch.error_file_id) if file),
            quote(batch.errors, servers.at.api_key) if batch.errors else "",
            _seconds(said.headers.get("retry-after")),
        )

    def results(
        self, state: BatchState, requests: Mapping[str, ChatRequest]
    ) -> Iterator[tuple[str, BatchResult]]:
        before = self.learned.get(self.model, self.stated)

        async def read(servers: Servers) -> list[tuple[str, BatchResult]]:
            missing, found = dict(requests), list[tuple[str, BatchResult]]()
            for file_id in state.files:
                content = await ask_again(lambda name=file_id: self._content(servers, name))
                for line in read_lines(content):
                    request = missing.pop(line.custom_id, None)
                    if request is not None:
                        result = self._result(servers, line, state, request, before)
                        found.append((line.custom_id, result))
            rest = {key: self._without_line(state, missing[key]) for key in missing}
            return [*found, *rest.items()]

        yield from self.ask_servers(read)

    async def _content(self, servers: Servers, file_id: str) -> bytes:
        call = _get(servers, f"/files/{file_id}/content")
        return (await servers.translate_errors(call, self._no_batches)).content

    def _result(
        self, servers: Servers, line: Line, state: BatchState, request: ChatRequest, before: Any
    ) -> BatchResult:
        """What a line says; None where its request is to be written otherwise."""
        if line.response is None:
            code = line.error.get("code") if isinstance(line.error, dict) else None
            reason = _WHY_NOT.get(str(code)) or _WHY_NOT.get(state.status)
            said = quote(line.error, servers.at.api_key)
            return Completion.failed(Failure(reason or FailureReason.SERVER_ERROR, said))
        most, response = most_tokens(request), line.response
        try:
            answer = servers.read_answer(
                response.status_code, response.body, ChatAnswer, self.missing
            )
        except NotTakenError as error:
            fewer = before.without(error.named, request)
            if fewer is None or self.stated.limit != before.limit != fewer.limit:
                return Completion.failed(error.failure)
            self.remember(fewer, before, [error.failure.said])
            return None
        except RequestError as error:
            return self.refused(error, most)
        except EngineError as error:
            return error
        return self.masked(servers, answer.completion(most))

    def _without_line(self, state: BatchState, request: ChatRequest) -> BatchResult:
        """What became of a request that no file of its batch names."""
        if state.status == "failed" and not state.files:
            return EngineError(
                f"The endpoint {self.endpoint.label} refuses a batch of requests to "
                f"{self.model!r} ({state.said or 'it does not say why'}); mend that, or leave out "
                f"batch: true, and run again: {KEPT}."
            )
        reason = _WHY_NOT.get(state.status, FailureReason.NO_ANSWER)
        said = f"its batch {state.id} is {state.status} and says nothing of it"[:SHOWN]
        if reason is not FailureReason.LOST:
            return Completion.failed(Failure(reason, said))
        prompt, completion = most_tokens(request)  # it may have been answered, and paid
        failed = Completion.failed(Failure(reason, said))
        return replace(failed, prompt_tokens=prompt, completion_tokens=completion, estimated=True)

    @property
    def _no_batches(self) -> str:
        return (
            f"The endpoint {self.endpoint.label} takes no batches; leave out batch: true where "
            f"the experiment names {self.model!r}"
        )


async def _get(
    servers: Servers, path: str, params: Mapping[str, str] | None = None
) -> httpx2.Response:
    options: Any = {"params": dict(params or {})}
    return await servers.clients[0].get(path, cast_to=httpx2.Response, options=options)


def _is_final(error: openai.OpenAIError) -> bool:
    """Whether waiting does not help: there is no credit."""
    if not isinstance(error, openai.APIStatusError):
        return False
    return error.response.headers.get("x-should-retry") == "false"


def _seconds(stated: str | None) -> float | None:
    """When to look again, as a server states it; it may state a date, which is not needed."""
    try:
        return None if stated is None else max(0.0, float(stated))
    except ValueError:
        return None
