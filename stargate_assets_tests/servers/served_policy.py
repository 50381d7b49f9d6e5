"""A policy behind an address, as `stargate serve` puts it there."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass

import uvicorn

from stargate_assets.cli.serve.app import make_app
from stargate_assets.engines.engine import Engine

NAME = "loop-policy-1"


@dataclass
class Served:
    """A server, and the engine behind it."""

    address: str
    engine: Engine


def serving(engine: Engine) -> Iterator[Served]:
    config = uvicorn.Config(
        make_app(NAME, engine, max_tokens=6), port=0, log_level="error", lifespan="off"
    )
    server = uvicorn.Server(config)
    with config.bind_socket() as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield Served(f"http://127.0.0.1:{listener.getsockname()[1]}", engine)
        server.should_exit = True
        thread.join()
