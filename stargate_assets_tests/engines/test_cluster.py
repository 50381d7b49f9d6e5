"""Replicas on a Ray cluster. The slow tests run on three nodes, each a raylet of this machine, and
kill processes and nodes in the middle of calls.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from stargate_assets.config.engines import ENGINES, EngineEntry
from stargate_assets.config.machine import Cluster, Machine
from stargate_assets.config.model_spec import ModelSpec
from stargate_assets.definitions.project import Project, assemble
from stargate_assets.engines.chunks import (
    LEAST_TOKENS,
    MOST_TOKENS,
    count_tokens,
    order_by_prompt,
    plan_parts,
    split_evenly,
)
from stargate_assets.engines.cluster import (
    CHUNKS_AT_ONCE,
    ClusterEngine,
    _check_room,
    open_on_cluster,
)
from stargate_assets.engines.engine import Checkpoint, Engine, Opening, open_engine
from stargate_assets.engines.replicas import count_fitting, count_gpus
from stargate_assets.method.language_model import (
    ChatRequest,
    EngineError,
    Message,
    Sampling,
    ScoreRequest,
)
from stargate_assets.models.pool import ModelPool
from stargate_assets.storage.checkpoints import publish
from stargate_assets_tests.conftest import (
    ENVIRONMENT,
    USE,
    mini_data_set,
    scripted_experiment,
)
from stargate_assets_tests.engines import mortal_engine
from stargate_assets_tests.engines.mortal_engine import BROKEN, REFUSED
from stargate_assets_tests.ray_nodes import SMALL, ray_cluster
from stargate_assets_tests.runs.cells import materialize, tables

MORTAL = mortal_engine.__name__
sizes = st.lists(st.integers(1, 2 * MOST_TOKENS), min_size=1, max_size=300)


@given(sizes, st.integers(1, 40))
@example([1, 131_073, 131_072, 1, 1, 262_145], 2)
def test_chunks_are_all_requests_in_order_and_none_is_too_large(
    tokens: list[int], replicas: int
) -> None:
    chunks = split_evenly(tokens, replicas)
    assert [index for chunk in chunks for index in chunk] == list(range(len(tokens)))
    assert all(len(c) == 1 or sum(tokens[i] for i in c) <= MOST_TOKENS for c in chunks)


@given(st.integers(1, 3000), st.integers(1, 2000), st.integers(1, 40))
def test_replicas_that_are_equally_fast_have_as_much_to_do(
    count: int, tokens: int, replicas: int
) -> None:
    lengths = [len(chunk) for chunk in split_evenly([tokens] * count, replicas)]
    rounds = [lengths[start : start + replicas] for start in range(0, len(lengths), replicas)]
    assert all(max(one) - min(one) <= 1 for one in rounds)
    assert all(len(one) == replicas for one in rounds[:-1])
    assert len(rounds[-1]) == min(count, replicas)
    assert (max(rounds[-1]) - 1) * tokens <= 2 * LEAST_TOKENS


def test_a_large_batch_is_sent_out_in_chunks_that_halve_towards_the_end() -> None:
    lengths = [len(chunk) for chunk in split_evenly([1024] * 1024, 4)]
    assert lengths == [128] * 4 + [64] * 8


words = st.lists(st.sampled_from(["Ana", "Bo", "likes", "rice"]), max_size=3).map(" ".join)


@given(st.lists(st.tuples(words, words), min_size=1, max_size=20), st.integers(1, 5))
def test_requests_whose_messages_begin_alike_stay_together(
    texts: list[tuple[str, str]], replicas: int
) -> None:
    requests = [
        ChatRequest((Message("system", first), Message("user", second)), Sampling(9), seed)
        for seed, (first, second) in enumerate(texts)
    ]
    order = order_by_prompt(requests)
    assert sorted(order) == list(range(len(texts)))
    firsts = [texts[index][0] for index in order]
    assert sum(a != b for a, b in pairwise(firsts)) == len(set(firsts)) - 1
    parts = plan_parts(requests, replicas)
    assert [index for part in parts for index in part.requests.values()] == order


def test_a_request_s_tokens_are_those_of_its_prompt_and_completion() -> None:
    messages = (Message("user", "h" * 84),)
    assert count_tokens(ChatRequest(messages, Sampling(32))) == 84 + 16 + 32
    assert count_tokens(ScoreRequest(messages, "c" * 34)) == 84 + 16 + 34 + 16 + 1


def opening(path: Path, machine: Machine, **stated: Any) -> Opening:
    spec = ModelSpec.model_validate({"engine": "scripted", "model": "any"} | stated)
    return Opening(spec, str(path), None, "float32", "cpu", machine, path / "logs", lambda *_: None)


def test_a_replica_has_the_gpus_that_its_engine_spreads_a_model_over(tmp_path: Path) -> None:
    stated = Cluster(address="auto", replicas=2)
    found = [
        count_gpus(
            cluster,
            replace(opening(tmp_path, Machine(tensor_parallel=4), engine=engine), device=device),
        )
        for cluster in (stated, stated.model_copy(update={"gpus": 0.5}))
        for engine in ("transformers", "vllm", "scripted")
        for device in ("cpu", "cuda:1")
    ]
    assert found == [0, 1, 0, 4, 0, 0, 0, 0.5, 0, 0.5, 0, 0]


@pytest.mark.parametrize(
    ("nodes_and_gpus", "gpus", "models", "fitting"),
    [
        ((1, 8), 1, 2, 4),
        ((1, 8), 2, 1, 4),
        ((1, 8), 0.5, 2, 8),
        ((1, 1), 1, 2, 1),  # the second model waits, and the error says what to lower
        ((3, 0), 0, 2, 3),
    ],
)
def test_there_are_as_many_replicas_as_fit_unless_a_number_is_stated(
    nodes_and_gpus: tuple[int, float], gpus: float, models: int, fitting: int
) -> None:
    assert count_fitting(nodes_and_gpus, gpus, models) == fitting


def test_runs_do_not_wait_for_what_others_of_them_have() -> None:
    shared = Cluster(address="auto", training_workers=1, runs_at_once=2)
    _check_room("m at vllm", shared, size=4, most=4)
    with pytest.raises(EngineError, match="2 runs at once with 5 replicas of m at vllm each need"):
        _check_room("m at vllm", shared, size=5, most=4)
    _check_room("m at vllm", Cluster(address="auto"), size=5, most=4)  # it goes on with four


def test_a_result_does_not_depend_on_where_it_is_computed(tmp_path: Path) -> None:
    on_cluster = Machine(cluster=Cluster(address="auto", replicas=8))
    for spec in (ModelSpec(model="m"), ModelSpec(engine="scripted", model="m")):
        assert ModelPool(tmp_path, on_cluster).identity(spec) == ModelPool(tmp_path).identity(spec)


def test_a_node_without_gpu_may_drive_others(tmp_path: Path) -> None:
    cluster = Cluster(address="auto", replicas=8)
    pool = ModelPool(tmp_path, Machine(device="cuda", cluster=cluster))
    assert pool.dtype(ModelSpec(model="m")) == "bfloat16"


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    """A Ray cluster whose head computes nothing."""
    with ray_cluster() as cluster:
        yield cluster


@pytest.fixture
def three(nodes: Any) -> Machine:
    """A machine with three nodes, each with room for one replica."""
    for node in list(nodes.worker_nodes):
        if not node.remaining_processes_alive():
            nodes.worker_nodes.remove(node)
    while len(nodes.worker_nodes) < 3:
        nodes.add_node(num_cpus=1, **SMALL)
    return Machine(cluster=Cluster(address=nodes.address, replicas=3, wait_seconds=300))


@pytest.fixture
def mortal(three: Machine, tmp_path: Path) -> Iterator[ClusterEngine]:
    with closing(open_on_cluster(MORTAL, opening(tmp_path, three))) as engine:
        yield engine


def chats(count: int, **changes: Any) -> list[ChatRequest]:
    said = Message("user", "What should I cook? " * 50)
    return [ChatRequest((said,), Sampling(30, 1.0), seed) for seed in range(count)]


def scores(count: int) -> list[ScoreRequest]:
    said = Message("user", "What should I cook? " * 50)
    return [ScoreRequest((said,), f"cook {'rice ' * (i % 7)}") for i in range(count)]


def in_one_process(path: Path, requests: Any) -> list[Any]:
    engine = open_engine(MORTAL, opening(path, Machine()))
    call = engine.chat if isinstance(requests[0], ChatRequest) else engine.score
    return list(call(requests))


@pytest.mark.slow
@pytest.mark.parametrize("what", ["process", "node"])
@pytest.mark.parametrize("call", ["sampled", "score"])
def test_every_request_is_answered_once_though_a_replica_is_killed_at_it(
    mortal: ClusterEngine, tmp_path: Path, call: str, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    requests: Any = chats(400) if call == "sampled" else scores(400)
    fate = tmp_path / f"{call}.{what}"
    fate.touch()
    results: list[Any] = []
    for result in mortal.chat(requests) if call == "sampled" else mortal.score(requests):
        results.append(result)
        assert all(len(one.parts) <= CHUNKS_AT_ONCE for one in mortal.replicas.all)
    assert sorted(results, key=lambda one: one[0]) == in_one_process(tmp_path, requests)
    assert not fate.exists()
    assert "of 3 go on, and what it had not answered is asked again" in caplog.text


@pytest.mark.slow
def test_an_answer_that_came_is_stored_though_the_next_ones_are_lost(
    three: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ENGINES, "mortal", EngineEntry(MORTAL, weights=False))
    pool = ModelPool(tmp_path, three)
    for fate in ("sampled.process", "sampled.node"):
        (tmp_path / fate).touch()
    model = pool.open(ModelSpec(engine="mortal", model=str(tmp_path)), USE)
    assert isinstance(model.engine(), ClusterEngine)
    found = model.chat(chats(300), "asking")
    assert found == [result for _, result in in_one_process(tmp_path, chats(300))]
    assert pool.usage.made == sum(row.calls for row in pool.calls().usage) == 300
    pool.close()


@pytest.mark.slow
def test_what_an_engine_says_comes_as_it_says_it_and_the_rest_as_one_sentence(
    mortal: ClusterEngine, tmp_path: Path
) -> None:
    def ask(text: str) -> ChatRequest:
        return ChatRequest((Message("user", text),), Sampling(9))

    with pytest.raises(EngineError, match="This is refused; ask for something else") as refused:
        list(mortal.chat([ask(REFUSED)]))
    assert type(refused.value) is EngineError
    with pytest.raises(EngineError, match=r"failed \(ZeroDivisionError: broken\).*cluster\.log"):
        list(mortal.chat([ask(BROKEN)]))
    assert "in chat" in (tmp_path / "logs" / "cluster.log").read_text()
    assert [index for index, _ in mortal.chat([ask("and now?")])] == [0]


@pytest.mark.slow
def test_a_reader_that_has_had_enough_stops_the_replicas(mortal: ClusterEngine) -> None:
    with closing(mortal.chat(chats(400))) as answers:
        next(answers)
    assert not any(one.parts for one in mortal.replicas.all)
    assert len(dict(mortal.chat(chats(20)))) == 20


@pytest.mark.slow
def test_where_there_is_no_room_a_run_waits_and_stops(three: Machine, tmp_path: Path) -> None:
    assert three.cluster is not None
    cluster = three.cluster.model_copy(update={"wait_seconds": 2.0})
    wanted = opening(tmp_path, Machine(cluster=cluster), engine="transformers")
    with pytest.raises(EngineError, match=r"for 2 seconds.* has 1 GPUs free.*raise wait_seconds"):
        open_on_cluster(MORTAL, replace(wanted, device="cuda"))


@pytest.mark.slow
def test_an_adapter_goes_where_its_directory_is_not_and_to_a_replica_that_is_new(
    three: Machine, tiny_model: Path, tmp_path: Path
) -> None:
    torch.manual_seed(1)
    config = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)
    get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_model), config).save_pretrained(
        tmp_path / "aside"
    )
    digest = publish(tmp_path / "aside", tmp_path / "adapter")
    adapter = Checkpoint(tmp_path / "adapter", digest)
    wanted = replace(opening(tmp_path, three, engine="transformers"), path=str(tiny_model))
    module, draw = ENGINES["transformers"].module, random.Random(0)
    said = [Message("user", "My name is Ana. " * draw.randint(1, 9)) for _ in range(40)]
    asked = [ChatRequest((message,), Sampling(8)) for message in said]
    scored = [ScoreRequest((message,), "What do you like?") for message in said]

    def ask(engine: Engine) -> tuple[list[str], list[tuple[float, ...]]]:
        texts, values = dict(engine.chat(asked)), dict(engine.score(scored))
        return [texts[i].text for i in range(40)], [values[i].log_probs for i in range(40)]

    alone = open_engine(module, wanted)
    base = ask(alone)
    alone.use(adapter)
    trained = ask(alone)
    with closing(open_on_cluster(module, wanted)) as engine:
        assert ask(engine)[0] == base[0]
        engine.use(adapter)
        shutil.rmtree(adapter.path)
        for kill in (False, True):
            if kill:
                os.kill(engine.replicas.open[0].process, signal.SIGKILL)
            texts, values = ask(engine)
            assert texts == trained[0] != base[0]
            for found, expected in zip(values, trained[1], strict=True):
                assert found == pytest.approx(expected, abs=1e-4)
        engine.use(None)
        assert ask(engine)[0] == base[0]


@pytest.mark.slow
def test_a_cell_is_that_of_one_process_though_a_node_is_killed_at_each_of_its_calls(
    three: Machine, mini: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ENGINES, "mortal", EngineEntry(MORTAL, weights=False))
    fates = mini.parent / "fates"
    fates.mkdir()
    model = {"engine": "mortal", "model": str(fates)}
    roleplayers = [{"name": "speaker", "model": model}]
    experiment = scripted_experiment(fates, questioner=model, roleplayers=roleplayers)

    def build(root: str, machine: Machine) -> Project:
        return assemble({"mini": mini_data_set(mini)}, {"loop": experiment}, Path(root), machine)

    def calls(project: Project) -> dict[tuple[str, ...], int]:
        return {(r.slice, r.role, r.kind): r.calls for r in project.models.calls().usage}

    alone, cluster = build("alone", Machine()), build("cluster", three)
    materialize(alone, "loop")
    for fate in ("sampled.node", "score.node", "greedy.process"):
        (fates / fate).touch()
    materialize(cluster, "loop")
    assert not list(fates.iterdir())
    for (name, expected), found in zip(
        tables(alone, "loop").items(), tables(cluster, "loop").values(), strict=True
    ):
        assert found.equals(expected), name
    assert calls(cluster) == calls(alone)
    assert sum(calls(alone).values()) == cluster.models.store().count() > 50
    cluster.models.close()


LOCAL_RUN = """
import sys
from pathlib import Path
from stargate_assets.config.machine import Cluster, Machine
from stargate_assets.config.model_spec import ModelSpec
from stargate_assets.models.pool import ModelPool
from stargate_assets.method.language_model import ChatRequest, Message, Sampling
from stargate_assets.storage.completions import Use

if __name__ == "__main__":
    pool = ModelPool(Path("warehouse"), Machine(cluster=Cluster(address="local", replicas=2)))
    model = pool.open(ModelSpec(engine="scripted", model="any"), Use("any", "all", "anyone"))
    request = ChatRequest((Message("user", "?"),), Sampling(9))
    print(len(model.chat([request] * 3, "asking")), flush=True)
    sys.stdin.read()
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["killed", "ended"])
def test_a_local_cluster_leaves_no_process_and_says_nothing(tmp_path: Path, how: str) -> None:
    (tmp_path / "run.py").write_text(LOCAL_RUN)
    with subprocess.Popen(
        [sys.executable, "run.py"],
        cwd=tmp_path,
        env=ENVIRONMENT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as run:
        assert run.stdin is not None
        assert run.stdout is not None
        assert run.stderr is not None
        assert run.stdout.readline() == "3\n"
        started = psutil.Process(run.pid).children(recursive=True)
        assert any("raylet" in process.name() for process in started)
        agents = {process.pid for process in started if "Agent" in process.name()}
        if how == "killed":
            run.kill()
        run.stdin.close()
        assert run.wait(60) == (-signal.SIGKILL if how == "killed" else 0)
        # Two agents of Ray's look for the head for a minute before they end as well.
        ours = started if how == "ended" else [p for p in started if p.pid not in agents]
        assert psutil.wait_procs(ours, timeout=60)[1] == []
        assert (run.stdout.read(), run.stderr.read()) == ("", "")
    left = list(Path("/tmp").glob(f"stargate-ray-{run.pid}-*"))  # noqa: S108
    assert how == "killed" or not left
    for directory in left:
        shutil.rmtree(directory)
