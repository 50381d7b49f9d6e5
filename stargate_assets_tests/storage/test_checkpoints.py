import shutil
from pathlib import Path

import pytest

from stargate_assets.storage.checkpoints import (
    MANIFEST,
    CheckpointError,
    TrainingRecord,
    find_training,
    publish,
    reuse_checkpoint,
    verify,
)

RECORD = TrainingRecord("abc", {"steps": 3, "losses": [0.1, 1 / 3]})


def written(path: Path, weights: bytes = b"weights") -> Path:
    (path / "sub").mkdir(parents=True)
    (path / "model.safetensors").write_bytes(weights)
    (path / "sub" / "config.json").write_text("{}")
    return path


def test_a_published_checkpoint_verifies(tmp_path: Path) -> None:
    digest = publish(written(tmp_path / "aside"), tmp_path / "final")
    assert verify(tmp_path / "final") == digest
    assert not (tmp_path / "aside").exists()


def test_the_hash_is_of_names_and_contents(tmp_path: Path) -> None:
    one = publish(written(tmp_path / "a"), tmp_path / "one")
    same = publish(written(tmp_path / "b"), tmp_path / "two")
    other = publish(written(tmp_path / "c", b"other"), tmp_path / "one")
    assert one == same != other
    assert verify(tmp_path / "one") == other


@pytest.mark.parametrize("damage", ["model.safetensors", "sub/config.json"])
def test_damage_is_found_and_named(tmp_path: Path, damage: str) -> None:
    publish(written(tmp_path / "aside"), tmp_path / "final")
    (tmp_path / "final" / damage).write_text("x")
    with pytest.raises(CheckpointError, match=f"{damage}.*damaged.*again"):
        verify(tmp_path / "final")


def test_an_unsealed_directory_is_no_checkpoint(tmp_path: Path) -> None:
    assert not (written(tmp_path / "aside") / MANIFEST).exists()
    with pytest.raises(CheckpointError, match="does not exist"):
        verify(tmp_path / "aside")


def trained(root: Path, cell: str, record: TrainingRecord | None = RECORD) -> Path:
    """A sealed checkpoint in `root`."""
    publish(written(root / "aside"), root / cell, record)
    return root / cell


def test_what_was_trained_from_the_same_is_found_in_any_experiment(tmp_path: Path) -> None:
    own, other = tmp_path / "new" / "0-a", trained(tmp_path, "old/0-a")
    trained(tmp_path, "old/1-b", TrainingRecord("def", {}))
    trained(tmp_path, "older/0-a", None)  # before trainings were recorded
    trained(tmp_path, "a/.0-a.partial")
    assert find_training(tmp_path, "abc", own) == (other, RECORD)
    assert find_training(tmp_path, "fed", own) is None
    trained(tmp_path, "new/0-a")
    assert find_training(tmp_path, "abc", own) == (own, RECORD)


def test_a_damaged_one_is_not_taken_over(tmp_path: Path) -> None:
    (trained(tmp_path, "a/0-a") / "model.safetensors").write_bytes(b"other")
    assert find_training(tmp_path, "abc", tmp_path / "b" / "0-a") is None
    whole = trained(tmp_path, "z/0-a")
    assert find_training(tmp_path, "abc", tmp_path / "b" / "0-a") == (whole, RECORD)


def test_each_of_two_that_share_files_can_be_deleted_alone(tmp_path: Path) -> None:
    source, final, aside = trained(tmp_path, "a/0-a"), tmp_path / "b" / "0-a", tmp_path / "aside"
    aside.mkdir()
    assert reuse_checkpoint(source, aside, final, RECORD) == verify(source) == verify(final)
    assert (final / "model.safetensors").samefile(source / "model.safetensors")
    assert not (final / MANIFEST).samefile(source / MANIFEST)
    shutil.rmtree(source)
    assert find_training(tmp_path, "abc", source) == (final, RECORD)
    assert not aside.exists()


def test_what_is_in_place_stays(tmp_path: Path) -> None:
    final, aside = trained(tmp_path, "a/0-a"), tmp_path / "aside"
    aside.mkdir()
    before = final.stat().st_ino
    assert reuse_checkpoint(final, aside, final, RECORD) == verify(final)
    assert final.stat().st_ino == before
    assert not aside.exists()
