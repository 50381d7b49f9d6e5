"""What this package's engines and training make of one GPU: `python benchmarks/gpu.py --shape 7b`.

It needs torch, transformers and peft (with pydantic and jinja2), and this checkout, which need not
be installed. Weights are random and in the shape of a well-known model, so nothing is downloaded;
requests are the method's own, on the tasks and personas that come along. Rows:

- `matmul`: the fastest product of two square matrices in the dtype of the rest, which the shares
  below are of;
- `simulation`: completions of the method's first turn, by our engine, by `generate` on left-padded
  batches of as many rows, and by vLLM where it is installed;
- `scoring`: gold responses after a turn of dialogue, by our engine. Operations are those of the
  tokens that it must compute: a prefix that requests share counts once;
- `training`: one step after the first, by LoRA and in full, without gradient checkpointing.
  Operations are 2 for each parameter and token forwards, as many backwards to the activations, and,
  in full, as many again to the weights; attention's products are counted too.

Peak memory is what torch has allocated on the GPU (on CPU, what the process holds). At the end,
scores are held against a plain forward of transformers.
"""

import argparse
import gc
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers import __version__ as transformers_version
from transformers.utils.logging import disable_progress_bar

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.gpu_figures import GIB, Bench, Row, print_table
from benchmarks.random_model import (
    SHAPES,
    chats,
    dialogues,
    forward_flops,
    layer_parameters,
    scores,
    write_model,
)
from stargate_assets.config.training import Training
from stargate_assets.engines import transformers as our_engine
from stargate_assets.engines import vllm as vllm_engine
from stargate_assets.engines.chat_tokenizer import ChatTokenizer
from stargate_assets.method.errors import StargateError
from stargate_assets.method.examples import tokenise
from stargate_assets.method.tokens import shared_length
from stargate_assets.training.launch import single_device_environment
from stargate_assets.training.memory import full_training_bytes, lora_training_bytes
from stargate_assets.training.spec import TrainingSpec, encode_dialogues
from stargate_assets.training.trainer import train

MOST_SECONDS = 400
"""No part is begun after so many: all of it is to end within eight minutes."""
HELD = 8
"""Scores that are held against transformers' own."""


class EnoughError(Exception):
    """Ends a training before it saves what nobody wants."""


def measure_matmul(bench: Bench) -> None:
    size, dtype = bench.shape.matmul, getattr(torch, bench.dtype)
    one, other = (torch.randn(size, size, dtype=dtype, device=bench.device) for _ in range(2))
    times = [bench.measure(lambda: [one @ other for _ in range(5)])[0] / 5 for _ in range(5)]
    bench.peak_flops = 2 * size**3 / min(times)
    bench.add("matmul", bench.peak_flops / 1e12, "TFLOP/s")


@torch.inference_mode()
def measure_generate(bench: Bench) -> list[list[float]]:
    """The same requests by transformers alone; returns its scores of `HELD` continuations."""
    tokenizer = AutoTokenizer.from_pretrained(bench.model, padding_side="left")
    dtype = getattr(torch, bench.dtype)
    plain: Any = AutoModelForCausalLM.from_pretrained(bench.model, dtype=dtype)
    plain = plain.to(bench.device).eval()
    chat = ChatTokenizer(tokenizer, bench.model)
    new = bench.shape.new_tokens
    prompts = [chat.render(r.messages, generation=True) for r in chats(bench.shape)]

    def generate() -> None:
        for start in range(0, len(prompts), 64):
            batch = tokenizer(
                prompts[start : start + 64],
                return_tensors="pt",
                padding=True,
                add_special_tokens=False,
                return_token_type_ids=False,
            ).to(bench.device)
            plain.generate(
                **batch,
                do_sample=True,
                temperature=0.7,
                top_k=0,
                min_new_tokens=new,
                max_new_tokens=new,
            )

    seconds, peak, _ = bench.measure(generate)
    bench.add("simulation, generate", len(prompts) * new / seconds, "tokens/s", peak)
    found: list[list[float]] = []
    for context, said in chat.scored(scores(bench.shape)[:HELD]):
        ids = torch.tensor([[*context, *said]], device=bench.device)
        log_probs = plain(input_ids=ids).logits[0, :-1].float().log_softmax(-1)
        of_tokens = log_probs.gather(-1, ids[0, 1:, None])[:, 0]
        found.append(of_tokens[len(context) - 1 :].tolist())
    return found


def measure_ours(bench: Bench, expected: Sequence[Sequence[float]]) -> None:
    """Simulation and scoring, and how far scores are from transformers' own."""
    engine = our_engine.open_engine(bench.opening("transformers"))
    asked = chats(bench.shape)
    list(engine.chat(asked[:8]))  # what a first call compiles or allocates
    seconds, peak, done = bench.measure(lambda: list(engine.chat(asked)))
    written = sum(completion.completion_tokens for _, completion in done)
    bench.add("simulation, ours", written / seconds, "tokens/s", peak)

    scored = scores(bench.shape)
    seconds, peak, found = bench.measure(lambda: dict(engine.score(scored)))
    sequences = sorted((*c, *said) for c, said in engine.tokenizer.scored(scored))
    before = [(), *sequences[:-1]]
    positions = [
        position
        for sequence, last in zip(sequences, before, strict=True)
        for position in range(shared_length(sequence, last), len(sequence))
    ]
    heads = sum(len(score.log_probs) for score in found.values())
    flops = forward_flops(bench.shape, positions, heads)
    bench.add("scoring, ours", flops / seconds / 1e12, "TFLOP/s", peak)
    differences = [
        abs(ours - theirs)
        for index, log_probs in enumerate(expected)
        for ours, theirs in zip(found[index].log_probs, log_probs, strict=True)
    ]
    if differences:  # unless transformers' own were left out
        bench.add("scores, mean difference", sum(differences) / len(differences), "nats/token")
        bench.add("scores, largest difference", max(differences), "nats")
    engine.close()


def measure_vllm(bench: Bench) -> None:
    if find_spec("vllm") is None:
        bench.say("simulation, vLLM: left out, it is not installed")
        return
    engine = vllm_engine.open_engine(bench.opening("vllm"))
    try:
        asked = chats(bench.shape)
        list(engine.chat(asked[:8]))
        seconds, _, done = bench.measure(lambda: list(engine.chat(asked)))
        written = sum(completion.completion_tokens for _, completion in done)
        bench.add("simulation, vLLM", written / seconds, "tokens/s")
    finally:
        engine.close()


def measure_training(bench: Bench, method: Any) -> None:
    """Steps after the first, which allocates; they are alike, and the last ends before saving."""
    shape, what = bench.shape, f"training, {method}"
    parameters = layer_parameters(shape) + shape.hidden * shape.vocabulary * (2 - shape.tied)
    is_bf16 = bench.dtype == "bfloat16"
    needed = lora_training_bytes(parameters, 0, is_bf16)
    if method == "full":
        needed = full_training_bytes(parameters, 1)
    if bench.device != "cpu" and needed > (free := torch.cuda.mem_get_info()[0]):
        bench.say(f"{what}: left out, {needed / GIB:.0f} GiB do not fit into {free / GIB:.0f}")
        return
    spec = TrainingSpec(
        model=bench.model,
        identity="random",
        revision=None,
        device=bench.device,
        bf16=is_bf16,
        seed=0,
        training=Training(method=method, batch_size=shape.batch, warmup_share=0),
        dialogues=encode_dialogues(dialogues(shape)),
        output=bench.directory / method,
    )
    ends: list[float] = []

    def on_loss(step: int, steps: int, loss: float) -> None:
        ends.append(time.perf_counter())
        if step == steps:
            raise EnoughError

    def run() -> None:
        try:
            train(spec, on_loss)
        except EnoughError:
            return

    _, peak, _ = bench.measure(run)
    chat = ChatTokenizer(AutoTokenizer.from_pretrained(bench.model), bench.model)
    (example,) = tokenise(dialogues(shape)[0], chat)
    learnt = sum(label >= 0 for label in example.labels)
    forward = forward_flops(shape, range(len(example.tokens)), learnt)
    flops = shape.batch * forward * (3 if method == "full" else 2)
    bench.add(what, flops / min(b - a for a, b in pairwise(ends)) / 1e12, "TFLOP/s", peak)


def run(shape: str, device: str) -> dict[str, Any]:
    """All parts; what `--json` writes."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        bench = Bench(SHAPES[shape], device, Path(directory))
        bench.say(f"making random weights of shape {shape}")
        write_model(bench.shape, Path(bench.model), getattr(torch, bench.dtype), device)
        expected: list[list[float]] = []
        parts: dict[str, Callable[[], object]] = {
            "matmul": lambda: measure_matmul(bench),
            "generate": lambda: expected.extend(measure_generate(bench)),
            "ours": lambda: measure_ours(bench, expected),
            "vLLM": lambda: measure_vllm(bench),
            "training by LoRA": lambda: measure_training(bench, "lora"),
            "training in full": lambda: measure_training(bench, "full"),
        }
        for name, part in parts.items():
            if time.monotonic() - bench.started > MOST_SECONDS:
                bench.say(f"{name}: left out, there is no time left")
                continue
            try:
                part()
            except (StargateError, torch.OutOfMemoryError) as error:
                bench.say(f"{name}: left out ({str(error).splitlines()[0]})")
            gc.collect()
            if device != "cpu":
                torch.cuda.empty_cache()
        card = platform.processor() if device == "cpu" else torch.cuda.get_device_name()
        return {
            "card": card or platform.machine(),
            "torch": torch.__version__,
            "transformers": transformers_version,
            "shape": shape,
            "dtype": bench.dtype,
            "seconds": time.monotonic() - bench.started,
            "rows": [asdict(row) for row in bench.rows],
        }


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure this package on one GPU.")
    parser.add_argument("--shape", choices=SHAPES, default="7b")
    parser.add_argument("--device", help="Such as cuda:1; the first GPU unless stated, or cpu.")
    parser.add_argument("--json", type=Path, metavar="FILE")
    stated = parser.parse_args()
    # Before torch looks for GPUs: a Trainer would spread over all that it sees.
    os.environ |= single_device_environment(stated.device or "cuda", os.environ)
    disable_progress_bar()
    device = "cuda" if stated.device != "cpu" and torch.cuda.is_available() else "cpu"
    found = run(stated.shape, device)
    print(f"{found['card']}, {found['dtype']}, torch {found['torch']}, shape {found['shape']}")
    print_table([Row(**row) for row in found["rows"]])
    if stated.json:
        stated.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
