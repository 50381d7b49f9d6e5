"""Replicas on a Ray cluster against the same engine in one process: `python benchmarks/cluster.py`.

Ray is started here, for this machine. An engine that sleeps a fixed time a call takes no core,
so many replicas of it fit a few. Prints what replicas of it reach of linear, what a replica costs
beside the engine in process, and how many calls a second the driver hands out and takes in of an
engine that costs nothing. `--model` compares the bundled model on two replicas that share the cores
with one process that has them all, in fp32.
"""

import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import click
from rich.console import Console

from stargate_assets.config.engines import ENGINES
from stargate_assets.config.machine import Cluster, Machine
from stargate_assets.config.model_spec import ModelSpec
from stargate_assets.engines import engine as engines
from stargate_assets.engines.cluster import ClusterEngine, open_on_cluster
from stargate_assets.engines.engine import Checkpoint, Engine, Opening
from stargate_assets.method.language_model import (
    ChatRequest,
    Completion,
    Message,
    Results,
    Sampling,
    Score,
    ScoreRequest,
)
from stargate_assets.models.bundled import bundled_model
from stargate_assets.models.stored import StoredModel
from stargate_assets.storage.completions import CompletionStore, Use
from stargate_assets.storage.sqlite import SqliteFile

HERE = Path(__file__).stem
PROMPT = "My name is Ada. What should I cook tonight? " * 20
console = Console()


def clock(milliseconds: str, replicas: int) -> Opening:
    """What an engine is opened with that sleeps so long at each call."""
    machine = Machine(cluster=Cluster(address="local", replicas=replicas))
    spec = ModelSpec(engine="scripted", model="clock")
    logs = Path(tempfile.gettempdir())
    return Opening(spec, milliseconds, None, "auto", "cpu", machine, logs, lambda *_: None)


class ClockEngine:
    """One call after the other."""

    def __init__(self, seconds: float):
        self.seconds = seconds

    def chat(self, requests: Sequence[ChatRequest]) -> Results[Completion]:
        for index in range(len(requests)):
            time.sleep(self.seconds)
            yield index, Completion("What do you like to eat?", "stop", 200, 7)

    def score(self, requests: Sequence[ScoreRequest]) -> Results[Score]:
        for index in range(len(requests)):
            time.sleep(self.seconds)
            yield index, Score((-1.0,), 200)

    def use(self, checkpoint: Checkpoint | None) -> None:
        del checkpoint

    def close(self) -> None:
        pass


def open_engine(opening: Opening) -> ClockEngine:
    return ClockEngine(float(opening.path) / 1000)


@contextmanager
def replicas_of(module: str, opening: Opening) -> Iterator[ClusterEngine]:
    """The engine of a module on the cluster, when all its replicas are open."""
    with closing(open_on_cluster(module, opening)) as engine:
        while len(engine.replicas.open) < engine.replicas.size:
            list(engine.replicas.wait())
        yield engine


def chats(count: int, max_tokens: int = 32) -> list[ChatRequest]:
    return [
        ChatRequest((Message("user", PROMPT),), Sampling(max_tokens, 0.9), seed)
        for seed in range(count)
    ]


def measure(engine: Engine, requests: Sequence[ChatRequest]) -> float:
    """Seconds for all of them."""
    started = time.perf_counter()
    if len(dict(engine.chat(requests))) != len(requests):
        raise click.ClickException("not every request was answered")
    return time.perf_counter() - started


def show(name: str, found: Sequence[float], goal: str) -> None:
    console.print(
        f"{name}: {statistics.median(found):.3g} ({min(found):.3g} to {max(found):.3g}), {goal}"
    )


def compare_with_linear(replicas: int, rounds: int) -> None:
    opening, each = clock("20", replicas), 200
    with replicas_of(HERE, opening) as engine:
        alone = open_engine(opening)
        found = [
            measure(alone, chats(each)) / measure(engine, chats(each * replicas))
            for _ in range(rounds)
        ]
    show(f"{replicas} replicas of 20 ms a call, of linear", found, "goal >= 0.9")


def compare_with_one_process(rounds: int) -> None:
    opening = clock("50", 1)
    with replicas_of(HERE, opening) as engine:
        alone = open_engine(opening)
        found = [measure(engine, chats(100)) / measure(alone, chats(100)) for _ in range(rounds)]
    show("one replica of 50 ms a call, seconds to those in process", found, "goal < 1.05")


def count_calls(rounds: int) -> None:
    requests = chats(10_000)
    with replicas_of(HERE, clock("0", 2)) as engine:
        found = [len(requests) / measure(engine, requests) for _ in range(rounds)]
        show("calls a second of an engine that costs nothing", found, "goal >= 2000")
        stored: list[float] = []
        with tempfile.TemporaryDirectory() as directory:
            for number in range(rounds):
                store = CompletionStore(SqliteFile(Path(directory) / f"{number}.sqlite"))
                use = Use("benchmark", "all", "questioner")
                model = StoredModel("any", store, lambda: engine, lambda *_: None, use)
                started = time.perf_counter()
                model.chat(requests, "asking")
                stored.append(len(requests) / (time.perf_counter() - started))
        show("the same with every answer stored", stored, "no goal")


def compare_model(rounds: int) -> None:
    model = bundled_model(Path("warehouse/models"), lambda *_: None)
    opening = replace(
        clock("0", 2), spec=ModelSpec(model="bundled"), path=str(model), dtype="float32"
    )
    module, requests = ENGINES["transformers"].module, chats(64, 16)
    alone = engines.open_engine(module, opening)
    with replicas_of(module, opening) as engine:
        found = [measure(alone, requests) / measure(engine, requests) for _ in range(rounds)]
    show("the bundled model on 2 replicas, speed to one process with all cores", found, "no goal")


@click.command()
@click.option("--replicas", default=16, show_default=True)
@click.option("--rounds", default=5, show_default=True)
@click.option("--model", is_flag=True, help="The bundled model too: some minutes.")
def main(replicas: int, rounds: int, model: bool) -> None:
    """Measure replicas against one process."""
    compare_with_linear(replicas, rounds)
    compare_with_one_process(rounds)
    count_calls(rounds)
    if model:
        compare_model(rounds)


if __name__ == "__main__":
    main()
