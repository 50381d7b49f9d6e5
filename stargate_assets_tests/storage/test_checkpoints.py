from pathlib import Path

import pytest

from stargate_assets.storage.checkpoints import MANIFEST, CheckpointError, publish, verify


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
    with pytest.raises(CheckpointError, match="not there"):
        verify(tmp_path / "aside")
