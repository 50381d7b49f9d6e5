"""Training by workers on a Ray cluster: two nodes, each a raylet of this machine."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from stargate_assets.config.machine import Cluster
from stargate_assets.config.training import Training
from stargate_assets.method.examples import IGNORED, Example
from stargate_assets.training.labelled_loss import learn_where_labelled
from stargate_assets.training.nodes import Saves, files_for, train_on_nodes
from stargate_assets.training.saved import GATHERED_MOMENTS, SEAL
from stargate_assets.training.spec import TrainingError, TrainingResult, TrainingSpec
from stargate_assets.training.stages import collate
from stargate_assets.training.trainer import train
from stargate_assets.training.worker import SavedShare
from stargate_assets_tests.ray_nodes import SMALL, ray_cluster
from stargate_assets_tests.training.test_saved import stated
from stargate_assets_tests.training.test_trainer import spec


def test_a_worker_s_gradients_weigh_as_much_as_its_labelled_tokens(tiny_model: Path) -> None:
    """Two workers, one with five labelled tokens and one with one. The sum of their gradients is
    that of all examples at once, where the mean of two means would be another. DDP's mean is that
    sum, because Trainer multiplies the loss by the number of workers.
    """
    examples = [
        Example("question", (5, 6, 7, 8, 9, 3), (IGNORED, 6, 7, 8, 9, 3)),
        Example("answer", (5, 6, 7), (IGNORED, IGNORED, 7)),
    ]

    def gradients(shares: list[list[Example]]) -> list[torch.Tensor]:
        model = AutoModelForCausalLM.from_pretrained(tiny_model)
        learn_where_labelled(model, Training())
        for share in shares:
            model(**collate(share, 2), num_items_in_batch=6)["loss"].backward()
        return [p.grad for p in model.parameters()]

    for found, expected in zip(
        gradients([examples[:1], examples[1:]]), gradients([examples]), strict=True
    ):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_a_step_counts_when_all_workers_have_handed_over_what_they_saved(tmp_path: Path) -> None:
    saves, first, later = Saves(tmp_path, 2), Path("0/checkpoint-1"), Path("0/checkpoint-2")
    for path, name in ((first, SEAL), (first, "rng_state_1.pth"), (later, SEAL)):
        saves.add(SavedShare(path, {name: ()}))
    assert sorted(file.name for file in (tmp_path / first).iterdir()) == ["rng_state_1.pth", SEAL]
    assert not (tmp_path / later).exists()
    saves.add(SavedShare(later, {"rng_state_1.pth": ()}))
    assert [path.name for path in (tmp_path / "0").iterdir()] == ["checkpoint-2"]


def test_the_first_worker_alone_is_sent_what_it_shares_out() -> None:
    saved = {f"0/checkpoint-1/{name}": () for name in (SEAL, GATHERED_MOMENTS)}
    assert files_for(0, saved) == saved
    assert list(files_for(1, saved)) == [f"0/checkpoint-1/{SEAL}"]


@pytest.fixture(scope="module")
def two() -> Iterator[Cluster]:
    """A cluster of two nodes, each with room for one worker."""
    with ray_cluster() as nodes:
        for _ in range(2):
            nodes.add_node(num_cpus=1, **SMALL)
        yield Cluster(address=nodes.address, training_workers=2, wait_seconds=60)


def on_nodes(
    one: TrainingSpec, cluster: Cluster, on_loss: Callable[..., None], lost: list[str]
) -> TrainingResult:
    workers = {"processes": cluster.training_workers}
    return train_on_nodes(one.model_copy(update=workers), cluster, on_loss, lost.append)


def kill_worker_at(step: int, seen: list[int]) -> Callable[[int, int, float], None]:
    """Kill one of the workers when the loss of a step is first told."""

    def on_loss(at: int, steps: int, loss: float) -> None:
        del steps, loss
        if at == step and step not in seen:
            ours = psutil.Process().children(recursive=True)
            worker, *_ = (p for p in ours if "TrainingWorker" in p.name())
            os.kill(worker.pid, signal.SIGKILL)
        seen.append(at)

    return on_loss


def differences(one: Path, other: Path) -> dict[str, float]:
    """The largest difference of each tensor."""
    found: dict[str, float] = {}
    for file in one.glob("*.safetensors"):
        weights, others = load_file(file), load_file(other / file.name)
        assert weights.keys() == others.keys()
        found |= {key: float((weights[key] - others[key]).abs().max()) for key in weights}
    assert found
    return found


@pytest.mark.slow
@pytest.mark.parametrize("method", ["lora", "full"])
def test_two_workers_train_what_one_process_does_though_one_is_killed(
    two: Cluster, tiny_model: Path, tmp_path: Path, method: str
) -> None:
    """To 1e-5 of weights that have moved by 1e-2: sums of fp32 come in another order. The workers
    that go on from the last saved step end with the very weights of those that nobody killed.
    """
    alone, whole, broken = (
        stated(tiny_model, tmp_path / name / "out", method=method, loss="sft")
        for name in ("alone", "whole", "broken")
    )
    expected = train(alone.model_copy(update={"save_minutes": 10}), lambda *_: None)
    lost: list[str] = []
    seen: list[int] = []
    found = on_nodes(broken, two, kill_worker_at(3, seen), lost)
    (said,) = lost
    assert said.endswith("has ended in training; the training goes on from step 2.")
    assert seen == [1, 2, 3, 3, 4]
    assert found.losses == pytest.approx(expected.losses, abs=1e-5)
    assert max(differences(alone.output, broken.output).values()) < 1e-5
    if method == "lora":
        on_nodes(whole, two, lambda *_: None, lost)
        assert not any(differences(whole.output, broken.output).values())
    assert len(lost) == 1


@pytest.mark.slow
def test_what_stops_a_training_on_nodes_is_said_in_one_sentence(
    two: Cluster, tiny_model: Path, tmp_path: Path
) -> None:
    bad = spec(tiny_model, tmp_path / "out", learning_rate=1e30, max_grad_norm=1e30)
    with pytest.raises(TrainingError, match=r"^The loss is (nan|inf).*learning_rate\.$"):
        on_nodes(bad, two.model_copy(update={"training_workers": 1}), lambda *_: None, [])
    on_gpus = bad.model_copy(update={"device": "cuda"})
    crowded = two.model_copy(update={"wait_seconds": 1.0})
    with pytest.raises(
        TrainingError, match=r"no room for 2 workers .* each with a core and a GPU,"
    ):
        on_nodes(on_gpus, crowded, lambda *_: None, [])
