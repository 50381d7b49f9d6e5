"""What machine.yaml may say."""

from pathlib import Path

import pytest

from stargate_assets.config.machine import FREE, Machine, MachineError, Price, load_machine
from stargate_assets.config.model_spec import ModelSpec
from stargate_assets_tests.conftest import ROOT


def test_without_a_file_the_defaults_hold(tmp_path: Path) -> None:
    assert load_machine(tmp_path / "machine.yaml") == Machine()
    (tmp_path / "machine.yaml").write_text("# nothing yet\n")
    assert load_machine(tmp_path / "machine.yaml") == Machine()


def test_the_file_that_comes_with_the_project_is_valid() -> None:
    machine = load_machine(ROOT / "machine.yaml")
    gpt = machine.price(ModelSpec(engine="openai", model="gpt-4-0613"))
    assert gpt is not None
    assert gpt.dollars(1_000_000, 500_000) == 60.0


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ("devise: cpu", "devise: Extra inputs"),
        ("tensor_parallel: 0", "tensor_parallel: Input should be greater"),
        ("gpu_memory_share: 2", "gpu_memory_share: "),
        ("max_dollars: 0", "max_dollars: "),
        ("prices: [{model: a, prompt: 1}]", "prices.0.completion: Field required"),
        ("prices: [{model: a, prompt: -1, completion: 1, as_of: 2024-01-01}]", "prices.0.prompt"),
        ("prices: [{model: a, prompt: 1, completion: 1, as_of: soon}]", "prices.0.as_of"),
        ("prices:\n" + "- {model: a, prompt: 1, completion: 1, as_of: 2024-01-01}\n" * 2, "two"),
        ("cluster: {replicas: 2}", "cluster.address: Field required"),
        ("cluster: {address: '', replicas: 2}", "cluster.address"),
        ("cluster: {address: local, replicas: 2, gpus: 1.5}", "cluster.gpus: more than one GPU is"),
        ("cluster: {address: local, training_workers: 2}", "state training_processes"),
        (
            "training_processes: 2\ncluster: {address: auto, training_workers: 2}",
            "state one of them",
        ),
        ("cluster: {address: auto, runs_at_once: 2}", "state training_workers, of each run"),
        ("- a list", "is not valid"),
        ("a: [", "is not YAML"),
    ],
)
def test_a_bad_file_is_refused(tmp_path: Path, stated: str, said: str) -> None:
    (tmp_path / "machine.yaml").write_text(stated)
    with pytest.raises(MachineError, match=said):
        load_machine(tmp_path / "machine.yaml")


def test_a_price_is_of_a_model_at_an_endpoint() -> None:
    price = Price.model_validate(
        {"endpoint": "FARM", "model": "m", "prompt": 1, "completion": 2, "as_of": "2024-01-01"}
    )
    machine = Machine(prices=(price,))
    assert machine.price(ModelSpec(engine="openai", endpoint="FARM", model="m")) == price
    assert machine.price(ModelSpec(engine="openai", model="m")) is None
    assert machine.price(ModelSpec(model="m")) == FREE


def test_batches_have_a_price_of_their_own_or_cost_no_more_than_stated() -> None:
    stated = {"model": "m", "prompt": 30, "completion": 60, "as_of": "2024-01-01"}
    spec = ModelSpec(engine="openai", model="m", batch=True)
    for batch, dollars in ((0.5, 45), (0, 0), (None, 90)):
        machine = Machine(prices=(Price.model_validate(stated | {"batch": batch}),))
        price, plain = machine.price(spec), machine.price(spec.model_copy(update={"batch": False}))
        assert price is not None and price.dollars(10**6, 10**6) == dollars
        assert plain is not None and plain.dollars(10**6, 10**6) == 90


def test_a_model_may_have_its_own_number_of_replicas(tmp_path: Path) -> None:
    (tmp_path / "machine.yaml").write_text(
        "cluster: {address: auto, replicas: 8, replicas_of: {m at vllm: 2}}"
    )
    cluster = load_machine(tmp_path / "machine.yaml").cluster
    assert cluster is not None
    specs = (ModelSpec(model="m"), ModelSpec(model="m", engine="vllm"))
    assert [cluster.count_replicas(spec, 4) for spec in specs] == [8, 2]
    unstated = cluster.model_copy(update={"replicas": None})
    assert [unstated.count_replicas(spec, 4) for spec in specs] == [4, 2]
