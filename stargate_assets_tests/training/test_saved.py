"""A training that is killed goes on from where it saved, and ends as if nothing had happened."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file

from stargate_assets.config.machine import Cluster
from stargate_assets.training.saved import SEAL, find_saved
from stargate_assets.training.spec import TrainingSpec
from stargate_assets.training.trainer import train
from stargate_assets_tests.training.test_preferences import comparing

AT_EVERY_STEP = 1e-9


class Killed(BaseException):
    """Ends a training as a signal would."""


def killed_at(step: int, seen: list[int]) -> Callable[[int, int, float], None]:
    """Ends the training when the loss of a step is known: before that step can be saved."""

    def on_loss(at: int, steps: int, loss: float) -> None:
        del steps, loss
        if at == step:
            raise Killed
        seen.append(at)

    return on_loss


def stated(model: Path, output: Path, **training: object) -> TrainingSpec:
    output.parent.mkdir(exist_ok=True)
    of = comparing(model, output, batch_size=3, device_batch_size=1, epochs=2, **training)
    return of.model_copy(update={"save_minutes": AT_EVERY_STEP})


@pytest.mark.parametrize(
    ("method", "kills"),
    [
        ("lora", [2, 3, 4, 5]),  # within an epoch, at the end of one, and between the stages
        ("full", [2]),
        ("full", [4, 6]),
    ],
)
def test_it_ends_with_the_weights_of_one_that_nobody_killed(
    tiny_model: Path, tmp_path: Path, method: str, kills: list[int]
) -> None:
    whole, broken = (
        stated(tiny_model, tmp_path / name / "out", method=method, loss="sft_then_dpo")
        for name in ("whole", "broken")
    )
    expected = train(whole.model_copy(update={"save_minutes": 10}), lambda *_: None)
    assert not list(whole.saved.rglob("checkpoint-*"))
    seen: list[int] = []
    for step in kills:
        with pytest.raises(Killed):
            train(broken, killed_at(step, seen))
    assert train(broken, killed_at(0, seen)) == expected
    assert set(seen) == set(range(1, expected.steps + 1))
    assert len(seen) <= expected.steps + 1  # the last step of the first stage is not saved
    for file in sorted(whole.output.glob("*.safetensors")):
        found, wanted = load_file(broken.output / file.name), load_file(file)
        assert found.keys() == wanted.keys()
        assert all(found[key].equal(wanted[key]) for key in wanted)


def test_a_checkpoint_without_its_seal_is_not_gone_on_from(
    tiny_model: Path, tmp_path: Path
) -> None:
    """As the process leaves it that is killed while it saves."""
    broken = stated(tiny_model, tmp_path / "out", loss="sft")
    with pytest.raises(Killed):
        train(broken, killed_at(3, []))
    (saved,) = (broken.saved / "0").glob("checkpoint-*")
    assert json.loads((saved / SEAL).read_text())["before"] == []
    (saved / SEAL).unlink()
    assert find_saved(broken.saved) is None
    seen: list[int] = []
    train(broken, killed_at(0, seen))
    assert seen == [1, 2, 3, 4]


def test_another_training_saves_elsewhere(tiny_model: Path, tmp_path: Path) -> None:
    one, other = (stated(tiny_model, tmp_path / "out", learning_rate=rate) for rate in (0.1, 0.2))
    assert one.saved != other.saved
    on_cluster = Cluster(address="auto", training_workers=2)
    assert one.saved == one.model_copy(update={"processes": 2, "save_minutes": 3}).saved
    assert one.saved == one.model_copy(update={"processes": 2, "cluster": on_cluster}).saved
