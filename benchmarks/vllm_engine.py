"""The vLLM engine against vLLM as one would call it, and against the transformers engine:
`.venv-vllm/bin/python benchmarks/vllm_engine.py`.

Same model, dtype and requests on each side: questions to ask in a first turn, and gold responses to
score, from the data set `everyday_mini`. The sides take turns, each alone on the machine, in a
process of its own; what is measured starts when the model is loaded and warm. Prints ratios with
their median over rounds.
"""

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from transformers_engine import requests

from stargate_assets.config.model_spec import ModelSpec
from stargate_assets.engines.transformers import Batching, TransformersEngine
from stargate_assets.engines.vllm import Model, Resources, VllmEngine
from stargate_assets.method.language_model import ChatRequest, ScoreRequest
from stargate_assets.models.bundled import BUNDLED, bundled_model
from stargate_assets.models.pool import ModelPool

PAIRS, SAMPLES = 16, 4
Chat = Callable[[list[ChatRequest]], int]
"""Completes requests; the number of new tokens."""
Scorer = Callable[[list[ScoreRequest]], int]
"""Scores requests; the number of log-probabilities."""
console = Console()


def plain(path: Path, dtype: str) -> tuple[Chat, Scorer]:
    """What one would write first: `LLM.chat`, and `LLM.generate` for prompt log-probabilities."""
    from transformers import AutoTokenizer
    from vllm import LLM, SamplingParams  # pyright: ignore[reportMissingImports]

    tokenizer: Any = AutoTokenizer.from_pretrained(path)
    # Without chunked prefill, because vLLM 0.32 on CPU stops at a seeded prompt that it splits.
    llm = LLM(
        str(path),
        dtype=dtype,
        enforce_eager=True,
        kv_cache_memory_bytes=2**30,
        enable_chunked_prefill=False,
    )

    def turns(request: ChatRequest | ScoreRequest) -> list[dict[str, str]]:
        return [{"role": m.role, "content": m.content} for m in request.messages]

    def chat(asked: list[ChatRequest]) -> int:
        parameters = [
            SamplingParams(
                max_tokens=r.sampling.max_tokens, temperature=r.sampling.temperature, seed=r.seed
            )
            for r in asked
        ]
        outputs = llm.chat([turns(r) for r in asked], parameters, use_tqdm=False)
        return sum(len(output.outputs[0].token_ids) for output in outputs)

    def score(asked: list[ScoreRequest]) -> int:
        prompts: list[dict[str, Any]] = []
        golds: list[list[int]] = []
        for r in asked:
            text = tokenizer.apply_chat_template(
                turns(r), tokenize=False, add_generation_prompt=True
            )
            context = tokenizer(text, add_special_tokens=False).input_ids
            golds.append(tokenizer(r.continuation, add_special_tokens=False).input_ids)
            prompts.append({"prompt_token_ids": context + golds[-1]})
        parameters = SamplingParams(max_tokens=1, temperature=0, prompt_logprobs=0)
        outputs = llm.generate(prompts, parameters, use_tqdm=False)
        return sum(
            len([position[token].logprob for token, position in zip(gold, found, strict=True)])
            for gold, output in zip(golds, outputs, strict=True)
            for found in [output.prompt_logprobs[-len(gold) :]]
        )

    return chat, score


def engine(opened: VllmEngine | TransformersEngine) -> tuple[Chat, Scorer]:
    def chat(asked: list[ChatRequest]) -> int:
        return sum(completion.completion_tokens for _, completion in opened.chat(asked))

    def score(asked: list[ScoreRequest]) -> int:
        return sum(len(found.log_probs) for _, found in opened.score(asked))

    return chat, score


def opened(side: str, path: Path, dtype: str) -> tuple[Chat, Scorer]:
    if side == "plain":
        return plain(path, dtype)
    if side == "transformers":
        return engine(TransformersEngine(str(path), None, dtype, "cpu", Batching()))
    log = path.parent.parent / "logs" / "vllm.log"
    room = Resources(cpu_cache_gib=1)
    return engine(VllmEngine(Model(str(path), None, dtype), room, log, lambda *_: None))


def measure(side: str, path: Path, dtype: str) -> dict[str, float]:
    """New tokens and scored tokens a second."""
    chat, score = opened(side, path, dtype)
    warm_chats, warm_scores = requests(1, 1)
    chat(warm_chats)
    score(warm_scores)
    chats, scores = requests(PAIRS, SAMPLES)
    started = time.perf_counter()
    new = chat(chats)
    asked = time.perf_counter()
    scored = score(scores)
    done = time.perf_counter()
    return {"simulation": new / (asked - started), "scoring": scored / (done - asked)}


def measured_alone(side: str, path: Path, dtype: str) -> dict[str, float]:
    """Measure in a process of its own, and end all that it leaves behind."""
    environment = {**os.environ, "VLLM_LOGGING_LEVEL": "WARNING", "VLLM_NO_USAGE_STATS": "1"}
    cores = ",".join(map(str, sorted(os.sched_getaffinity(0))))
    environment.setdefault("VLLM_CPU_OMP_THREADS_BIND", cores)  # else vLLM leaves one core unused
    command = [sys.executable, __file__, "--side", side, "--path", str(path), "--dtype", dtype]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        # Not up to the end of the output: vLLM's own processes, left alone, hold it open.
        return next(json.loads(line) for line in process.stdout if line.startswith(b"{"))
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


@click.command()
@click.option("--rounds", default=3, show_default=True)
@click.option(
    "--warehouse", default="warehouse", show_default=True, type=click.Path(path_type=Path)
)
@click.option("--side", hidden=True)
@click.option("--path", hidden=True, type=click.Path(path_type=Path))
@click.option("--dtype", hidden=True)
def main(
    rounds: int, warehouse: Path, side: str | None, path: Path | None, dtype: str | None
) -> None:
    """Measure simulation and scoring on each side in turn."""
    if side is not None:
        assert path is not None and dtype is not None
        console.file.write(json.dumps(measure(side, path, dtype)) + "\n")
        console.file.flush()
        signal.pause()  # until the group is ended
    path = bundled_model(warehouse / "models", lambda *_: None).resolve()
    dtype = ModelPool(warehouse).dtype(ModelSpec(model=BUNDLED))
    speeds: dict[str, list[dict[str, float]]] = {"plain": [], "vllm": [], "transformers": []}
    for number in range(rounds):
        for name, found in speeds.items():
            found.append(measured_alone(name, path, dtype))
            line = ", ".join(f"{what} {speed:.0f} tokens/s" for what, speed in found[-1].items())
            console.print(f"round {number + 1}, {name}, {dtype}: {line}")
    for what in ("simulation", "scoring"):
        for other in ("plain", "transformers"):
            ratios = [
                ours[what] / theirs[what]
                for ours, theirs in zip(speeds["vllm"], speeds[other], strict=True)
            ]
            console.print(
                f"{what}, speed of the vLLM engine / {other}: {statistics.median(ratios):.2f} "
                f"({min(ratios):.2f} to {max(ratios):.2f})"
            )


if __name__ == "__main__":
    main()
