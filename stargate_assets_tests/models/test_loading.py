"""Models that cannot be loaded, each in its own way: one sentence that says what to do."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from stargate_assets.config.machine import Machine
from stargate_assets.config.model_spec import ModelSpec
from stargate_assets.engines.engine import Checkpoint
from stargate_assets.method.language_model import EngineError, Message, ScoreRequest
from stargate_assets.models.pool import ModelPool
from stargate_assets.storage.checkpoints import CheckpointError, publish
from stargate_assets_tests.conftest import USE

REQUEST = ScoreRequest((Message("user", "Hello."),), "Who are you?")
WEIGHTS, TEMPLATE = "model.safetensors", "chat_template.jinja"


def write(name: str, content: bytes | str) -> Callable[[Path], object]:
    data = content.encode() if isinstance(content, str) else content
    return lambda model: (model / name).write_bytes(data)


def halve(name: str) -> Callable[[Path], object]:
    def cut(model: Path) -> None:
        data = (model / name).read_bytes()
        (model / name).write_bytes(data[: len(data) // 2])

    return cut


def state(name: str, **fields: object) -> Callable[[Path], object]:
    def change(model: Path) -> None:
        file = model / name
        file.write_text(json.dumps(json.loads(file.read_text()) | fields))

    return change


def forget_template(model: Path) -> None:
    (model / TEMPLATE).unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (shutil.rmtree, "could not be loaded .*give the path of a local directory"),
        (halve(WEIGHTS), rf"{WEIGHTS} is incomplete or damaged .*copy or download it again"),
        (
            write(WEIGHTS, "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"),
            rf"{WEIGHTS} is a pointer of Git LFS .*run `git lfs pull`",
        ),
        (halve("tokenizer.json"), "could not be loaded .*download it again"),
        (write("config.json", "{"), "could not be loaded"),
        (
            state("config.json", quantization_config={"quant_method": "gptq", "bits": 4}),
            "needs a package that is not installed .*not quantised",
        ),
        (write(TEMPLATE, "{% for m in messages %}\n{{ m.content"), "is broken, line 2 .*correct"),
        (write(TEMPLATE, "{{ raise_exception('no') }}"), r"is broken \(no\).*correct"),
        (forget_template, "has no chat template"),
    ],
    ids=[
        *("missing", "half", "pointer", "tokenizer", "config"),
        *("quantised", "template", "raising", "none"),
    ],
)
def test_what_cannot_be_loaded_is_one_sentence(
    tiny_model: Path, tmp_path: Path, damage: Callable[[Path], object], sentence: str
) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_model, model)
    damage(model)
    spec = ModelSpec.model_validate({"model": str(model)})
    with pytest.raises(EngineError, match=sentence) as raised:
        ModelPool(tmp_path).open(spec, USE).score([REQUEST], "scoring")
    assert "\n" not in str(raised.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_missed_before_anything_is_loaded(tmp_path: Path) -> None:
    pool = ModelPool(tmp_path, Machine(device="cuda"))
    with pytest.raises(EngineError, match=r"device: cuda, and torch .* sees no GPU.*say auto"):
        pool.open(ModelSpec(model="any"), USE)


def test_a_damaged_policy_is_asked_nothing(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "aside").mkdir()
    (tmp_path / "aside" / "adapter_model.safetensors").write_bytes(b"weights")
    policy = tmp_path / "checkpoints" / "loop" / "0-train_a"
    checkpoint = Checkpoint(policy, publish(tmp_path / "aside", policy))
    (policy / "adapter_model.safetensors").write_bytes(b"Weights")
    spec = ModelSpec(model=str(tiny_model))
    with pytest.raises(CheckpointError, match=r"stargate run loop --force '0\|train_a'"):
        ModelPool(tmp_path).open(spec, USE, checkpoint).score([REQUEST], "scoring")
