"""The engine for endpoints against its ideal: `python benchmarks/openai_engine.py`.

A server on loopback, in a process of its own, answers each request after a fixed latency. The ideal
is that of a client that costs nothing: ceil(requests / at once) x latency. Prints the ratio to it,
of the engine alone and with every answer stored on disk, and the processor's time of a request,
which is what keeps the ratio from 1.
"""

import asyncio
import math
import socket
import statistics
import tempfile
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

import click
import uvicorn
from rich.console import Console
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from stargate_assets.engines.endpoints import Endpoint, RequestLimits
from stargate_assets.engines.openai import OpenAIEngine
from stargate_assets.engines.request_fields import RequestFields
from stargate_assets.method.language_model import ChatRequest, Message, Sampling
from stargate_assets.models.stored import StoredModel
from stargate_assets.storage.completions import CompletionStore, Use
from stargate_assets.storage.sqlite import SqliteFile

PROMPT = "My name is Ada. What should I cook tonight? " * 20
console = Console()


def serve(listening: socket.socket, seconds: float) -> None:
    """Answer chats on a socket, each after that many seconds."""
    message = {"role": "assistant", "content": "What do you like to eat?"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    usage = {"prompt_tokens": 200, "completion_tokens": 7}

    async def answer(request: Request) -> JSONResponse:
        await request.body()
        await asyncio.sleep(seconds)
        return JSONResponse({"choices": [choice], "usage": usage})

    app = Starlette(routes=[Route("/v1/chat/completions", answer, methods=["POST"])])
    config = uvicorn.Config(app, log_level="error", access_log=False)
    uvicorn.Server(config).run(sockets=[listening])


def measured(call: Callable[[], int], expected: int) -> tuple[float, float]:
    """Seconds, and of the processor."""
    started, processor = time.perf_counter(), time.process_time()
    answers = call()
    ended = time.perf_counter() - started, time.process_time() - processor
    if answers != expected:
        raise click.ClickException(f"{answers} answers to {expected} requests")
    return ended


@click.command()
@click.option("--requests", "count", default=1000, show_default=True)
@click.option("--at-once", default=64, show_default=True)
@click.option("--latency", default=50, show_default=True, help="Of the server, in milliseconds.")
@click.option("--rounds", default=5, show_default=True)
def main(count: int, at_once: int, latency: int, rounds: int) -> None:
    """Measure the engine against a client that costs nothing."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    port = listening.getsockname()[1]
    server = get_context("spawn").Process(target=serve, args=(listening, latency / 1000))
    server.start()
    at = Endpoint("BENCHMARK", (f"http://127.0.0.1:{port}/v1",), "none")
    engine = OpenAIEngine("any", at, RequestFields(), RequestLimits(at_once=at_once))
    messages, sampling = (Message("user", PROMPT),), Sampling(32, 0.9)
    chats = [ChatRequest(messages, sampling, seed) for seed in range(count)]
    ideal = math.ceil(count / at_once) * latency / 1000
    use = Use("benchmark", "all", "questioner")
    runs: dict[str, list[tuple[float, float]]] = {"engine": [], "engine and store": []}
    try:
        list(engine.chat(chats[:at_once]))  # until the server is there
        with tempfile.TemporaryDirectory() as directory:
            for number in range(rounds):
                store = CompletionStore(SqliteFile(Path(directory) / f"{number}.sqlite"))
                stored = StoredModel("any", store, lambda: engine, lambda *_: None, use)
                runs["engine"].append(measured(lambda: len(list(engine.chat(chats))), count))

                def store_all(model: StoredModel = stored) -> int:
                    return len(model.chat(chats, "asking"))

                runs["engine and store"].append(measured(store_all, count))
    finally:
        server.terminate()
        server.join()
    console.print(f"{count} requests, {at_once} at once, {latency} ms each: ideal {ideal:.2f} s")
    for name, found in runs.items():
        ratios = [seconds / ideal for seconds, _ in found]
        processor = statistics.median(used for _, used in found) / count * 1000
        console.print(
            f"{name}: {statistics.median(ratios):.2f} of the ideal ({min(ratios):.2f} to "
            f"{max(ratios):.2f}), goal <= 1.2; {processor:.2f} ms of the processor a request"
        )


if __name__ == "__main__":
    main()
