"""A process that owns an engine and will be killed: `python -m
stargate_assets_tests.servers.vllm_owner LOG [MODEL]`.

Without a model it owns the stand-in. It prints its process's id once a call is under way that does
not end by itself.
"""

import os
import sys
from pathlib import Path

from stargate_assets.engines.vllm import Model, Resources, VllmEngine
from stargate_assets.engines.vllm_messages import Generate, Start, Work
from stargate_assets.engines.vllm_process import VllmProcess
from stargate_assets.method.language_model import ChatRequest, Message, Sampling
from stargate_assets_tests.servers.stub_vllm_process import FOR_EVER, TWICE

STAND_IN = (sys.executable, "-m", "stargate_assets_tests.servers.stub_vllm_process")
START = Start(
    model="nothing",
    revision=None,
    dtype="float32",
    quantization=None,
    max_length=None,
    stop_ids=(),
    lora=None,
    tensor_parallel=1,
    gpu_memory_share=0.4,
    cpu_cache_gib=1,
)


def generate(number: int, *prompt: int) -> Generate:
    return Generate(id=number, prompt=prompt, max_tokens=9, temperature=0, top_p=1, seed=0)


def main(log: Path, model: str | None) -> None:
    if model is None:
        process = VllmProcess(STAND_IN, START, os.environ, log)
        requests = generate(1, TWICE), generate(2, FOR_EVER)
        for _ in process.run(Work(adapter=None, requests=requests)):
            print(process.process.pid, flush=True)
        return
    engine = VllmEngine(
        Model(model, None, "float32"), Resources(cpu_cache_gib=1), log, lambda *_: None
    )
    user = (Message("user", "Count to a million."),)
    asked = [ChatRequest(user, Sampling(1)), ChatRequest(user, Sampling(7000, 1.0))]
    for _ in engine.chat(asked):
        assert engine.process is not None
        print(engine.process.process.pid, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None)
