"""Requests that come one by one as batches: an engine computes many together about as fast as
one.
"""

import asyncio
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from stargate_assets.method.language_model import EngineError

Request = TypeVar("Request")
Result = TypeVar("Result")


@dataclass(slots=True)
class Batches(Generic[Request, Result]):
    """What `compute` makes of requests, in `thread`, which has one worker: an engine does one thing
    at a time. Those that come meanwhile are its next batch.
    """

    compute: Callable[[Sequence[Request]], Generator[tuple[int, Result], None, None]]
    thread: ThreadPoolExecutor
    waiting: list[tuple[Request, asyncio.Future[Result]]] = field(
        default_factory=list[tuple[Request, asyncio.Future[Result]]]
    )
    working: asyncio.Task[None] | None = None

    async def ask(self, request: Request) -> Result:
        """The result of a request. Raises EngineError."""
        loop = asyncio.get_running_loop()
        found: asyncio.Future[Result] = loop.create_future()
        self.waiting.append((request, found))
        if self.working is None or self.working.done():
            self.working = loop.create_task(self._work())
        return await found

    async def _work(self) -> None:
        while self.waiting:
            batch, self.waiting = self.waiting, []
            requests = [request for request, _ in batch]
            computed = asyncio.wrap_future(self.thread.submit(self._outcomes, requests))
            await asyncio.wait([computed])
            broken = computed.exception()  # each is told, and the next batch is computed
            outcomes = [broken] * len(batch) if broken else computed.result()
            for (_, found), outcome in zip(batch, outcomes, strict=True):
                if found.cancelled():  # who asked is gone
                    continue
                if isinstance(outcome, BaseException):
                    found.set_exception(outcome)
                else:
                    found.set_result(outcome)

    def _outcomes(self, requests: Sequence[Request]) -> list[Result | EngineError]:
        """The result of each request, or what is wrong with it: one that the engine cannot compute
        fails alone.
        """
        try:
            found = dict(self.compute(requests))
            return [found[index] for index in range(len(requests))]
        except EngineError as error:
            if len(requests) == 1:
                return [error]
            return [outcome for request in requests for outcome in self._outcomes([request])]
