"""The parts of the vLLM engine that need no vLLM."""

import importlib.util
import math
from pathlib import Path

import numpy
import pytest
from safetensors.numpy import save_file

from stargate_assets.engines.vllm import (
    Model,
    Resources,
    VllmEngine,
    environment,
    read_adapter_shape,
    widen,
)
from stargate_assets.engines.vllm_messages import (
    COMMANDS,
    REPLIES,
    Adapter,
    Lora,
    Scored,
    ScoreTokens,
    Work,
)
from stargate_assets.engines.vllm_messages import line as encoded
from stargate_assets.engines.vllm_server import engine_arguments
from stargate_assets.method.language_model import EngineError
from stargate_assets_tests.servers.vllm_owner import START, generate


def test_messages_survive_their_line() -> None:
    work = Work(
        adapter=Adapter(number=3, path="/a b"),
        requests=(generate(1, 5, 6), ScoreTokens(id=2, tokens=(1, 2, 3), start=2)),
    )
    assert encoded(work).count(b"\n") == 1
    assert COMMANDS.validate_json(encoded(work)) == work
    assert COMMANDS.validate_json(encoded(START)) == START


def test_log_probabilities_are_not_rounded_and_may_be_infinite() -> None:
    found = Scored(id=1, log_probs=(-1 / 3, -math.inf))
    assert REPLIES.validate_json(encoded(found)) == found


def test_on_cpu_a_prompt_is_computed_in_one_step_and_the_cache_has_its_size() -> None:
    arguments = engine_arguments(START, on_cpu=True)
    assert arguments["enable_chunked_prefill"] is False
    assert arguments["kv_cache_memory_bytes"] == 2**30
    assert "gpu_memory_utilization" not in arguments
    assert engine_arguments(START, on_cpu=False)["gpu_memory_utilization"] == 0.4


@pytest.mark.parametrize(("rank", "highest"), [(4, 8), (16, 16), (17, 32), (600, 600)])
def test_vllm_is_started_for_the_next_rank_that_it_knows(rank: int, highest: int) -> None:
    start = START.model_copy(update={"lora": Lora(rank=rank, modules=("q_proj",))})
    assert engine_arguments(start, on_cpu=True)["max_lora_rank"] == highest
    assert engine_arguments(start, on_cpu=True)["lora_target_modules"] == ["q_proj"]
    assert "max_lora_rank" not in engine_arguments(START, on_cpu=True)


@pytest.mark.parametrize(
    ("device", "parallel", "ours", "theirs"),
    [
        ("cuda", 1, None, None),
        ("cpu", 1, "0", "0"),
        ("cuda:1", 1, None, "1"),
        ("cuda:1", 2, None, "1,2"),
        ("cuda:1", 1, "4,6", "6"),
    ],
)
def test_vllm_sees_the_devices_that_it_is_to_use(
    device: str, parallel: int, ours: str | None, theirs: str | None
) -> None:
    set_by_user = {} if ours is None else {"CUDA_VISIBLE_DEVICES": ours}
    found = environment(set_by_user, Resources(device, parallel))
    assert found.get("CUDA_VISIBLE_DEVICES") == theirs


def test_what_the_user_has_set_of_vllm_stays() -> None:
    found = environment({"VLLM_LOGGING_LEVEL": "DEBUG", "HOME": "/h"}, Resources())
    assert (found["VLLM_LOGGING_LEVEL"], found["HOME"]) == ("DEBUG", "/h")
    assert found["VLLM_NO_USAGE_STATS"] == "1"


def saved_adapter(path: Path, ranks: dict[str, int]) -> Path:
    """An adapter's file as PEFT writes it, with these ranks of these layers."""
    tensors = {
        f"base_model.model.model.layers.{i}.{name}.lora_{side}.weight": numpy.zeros(shape)
        for i in range(2)
        for name, rank in ranks.items()
        for side, shape in (("A", (rank, 6)), ("B", (6, rank)))
    }
    path.mkdir()
    save_file(tensors, path / "adapter_model.safetensors")
    return path


def test_an_adapter_s_rank_and_layers_are_those_of_its_weights(tmp_path: Path) -> None:
    path = saved_adapter(tmp_path / "a", {"self_attn.q_proj": 4, "mlp.up_proj": 9})
    shape = read_adapter_shape(path)
    assert shape == Lora(rank=9, modules=("q_proj", "up_proj"))
    assert widen(None, shape) == widen(shape, shape) == shape
    other = Lora(rank=16, modules=("k_proj", "q_proj"))
    assert widen(shape, other) == Lora(rank=16, modules=("k_proj", "q_proj", "up_proj"))


def test_an_adapter_that_vllm_would_not_score_with_is_refused(tmp_path: Path) -> None:
    path = saved_adapter(tmp_path / "a", {"self_attn.q_proj": 4, "lm_head": 4})
    with pytest.raises(EngineError, match="changes lm_head, which vLLM leaves out"):
        read_adapter_shape(path)


def test_a_broken_adapter_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"could not be loaded.*materialise"):
        read_adapter_shape(tmp_path)
    (tmp_path / "adapter_model.safetensors").write_text("no")
    with pytest.raises(EngineError, match=r"could not be loaded.*materialise"):
        read_adapter_shape(tmp_path)


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vLLM is installed")
def test_where_vllm_is_not_installed_the_error_says_how(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"not installed; run: pip install .*\[vllm\]"):
        VllmEngine(Model("m", None, "float32"), Resources(), tmp_path / "log", lambda *_: None)
