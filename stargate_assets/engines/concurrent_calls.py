"""Many awaited calls behind a plain generator: an event loop in a thread of its own, and a queue
between.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, suppress
from queue import Empty, SimpleQueue
from typing import TypeVar

from stargate_assets.method.language_model import EngineError, Results

Item = TypeVar("Item")
Session = TypeVar("Session")
Request = TypeVar("Request")
Result = TypeVar("Result")


def results_as_completed(
    session: Callable[[], AbstractAsyncContextManager[Session]],
    call: Callable[[Session, Request], Awaitable[Result]],
    requests: Sequence[Request],
    at_once: int,
) -> Results[Result]:
    """(index, result) of each request as its call ends, at most `at_once` calls under way.

    After an EngineError no further call starts, but those under way end and are yielded before it
    is raised: somebody pays for them. Closing the generator, or an interrupt, cancels them.
    """
    if not requests:
        return
    waiting = iter(enumerate(requests))
    results: SimpleQueue[tuple[int, Result] | None] = SimpleQueue()
    failures: list[EngineError] = []

    async def work(opened: Session) -> None:
        for index, request in waiting:
            try:
                results.put((index, await call(opened, request)))
            except EngineError as error:
                failures.append(error)
            if failures:
                return

    async def work_through() -> None:
        async with session() as opened, asyncio.TaskGroup() as group:
            for _ in range(min(at_once, len(requests))):
                group.create_task(work(opened))

    loop = asyncio.new_event_loop()
    with ThreadPoolExecutor(1, "in_flight") as thread:
        task = loop.create_task(work_through())
        run = thread.submit(loop.run_until_complete, task)
        run.add_done_callback(lambda _: results.put(None))
        try:
            while (result := _next(results)) is not None:
                yield result
            run.result()
        finally:
            loop.call_soon_threadsafe(task.cancel)  # does nothing to a task that is done
            thread.submit(loop.run_until_complete, loop.shutdown_default_executor())
            thread.shutdown()
            loop.close()
    if failures:
        raise failures[0]


def _next(results: SimpleQueue[Item]) -> Item:
    """Wait for an item, a little at a time: an interrupt that another thread is told of would go
    unnoticed otherwise.
    """
    while True:
        with suppress(Empty):
            return results.get(timeout=0.2)
