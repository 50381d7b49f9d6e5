"""The process that holds vLLM: `python -m stargate_assets.engines.vllm_server`, started by the
engine.

Commands come on standard input, replies go to standard output, and everything that vLLM prints goes
to standard error. vLLM's core runs in this very process: its own helper processes outlive whoever
started them and keep a core busy while they wait. Only tensor parallelism needs workers, which stay
in this process's group and end with it.
"""

import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from stargate_assets.engines.child_process import watch_parent
from stargate_assets.engines.vllm_messages import (
    COMMANDS,
    Failed,
    Generate,
    Generated,
    Ready,
    Scored,
    ScoreTokens,
    Start,
    WireMessage,
    Work,
    line,
)

SECONDS_TO_SHUT_DOWN = 5.0
LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM accepts as the highest rank."""
CPU_BLOCK = 32
"""Tokens in a block of the prefix cache: the smallest that vLLM's CPU kernels are fast with. Its
default of 128 is longer than most of what prompts share.
"""

Inbox = queue.SimpleQueue[Start | Work | None]
"""Commands, and None once there will be no more."""


def main() -> None:
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)

    def send(message: WireMessage) -> None:
        replies.write(line(message))
        replies.flush()

    inbox: Inbox = queue.SimpleQueue()
    watch_parent(end_group)
    threading.Thread(target=receive, args=(sys.stdin.buffer, inbox), daemon=True).start()
    try:
        run(inbox, send)
    except Exception as error:
        traceback.print_exc()
        reason = str(error).strip() or "it gives no reason"
        send(Failed(reason=f"{type(error).__name__}: {reason.splitlines()[0]}"))
        raise
    finally:  # even if nobody is there to be told
        sys.stderr.flush()
        end_group()


def end_group() -> None:
    """End this process and every process that it started."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def receive(commands: BinaryIO, inbox: Inbox) -> None:
    """Read commands until the engine closes the pipe or is no more; then end within seconds."""
    for received in commands:
        inbox.put(COMMANDS.validate_json(received))
    inbox.put(None)
    threading.Event().wait(SECONDS_TO_SHUT_DOWN)
    end_group()


def run(inbox: Inbox, send: Callable[[WireMessage], None]) -> None:
    start = inbox.get()
    if not isinstance(start, Start):
        return
    engine = open_engine(start)
    send(Ready(max_length=engine.model_config.max_model_len))
    serve(engine, start.stop_ids, inbox, send)
    engine.engine_core.shutdown()


def open_engine(start: Start) -> Any:
    from vllm import EngineArgs, LLMEngine  # pyright: ignore[reportAttributeAccessIssue]
    from vllm.platforms import current_platform  # pyright: ignore[reportMissingImports]
    from vllm.usage.usage_lib import UsageContext  # pyright: ignore[reportMissingImports]

    arguments = EngineArgs(**engine_arguments(start, current_platform.is_cpu()))
    return LLMEngine.from_engine_args(arguments, usage_context=UsageContext.LLM_CLASS)


def engine_arguments(start: Start, on_cpu: bool) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "model": start.model,
        "revision": start.revision,
        "dtype": start.dtype,
        "quantization": start.quantization,
        "max_model_len": start.max_length,
        "tensor_parallel_size": start.tensor_parallel,
        "enable_prefix_caching": True,
        "skip_tokenizer_init": True,
        "generation_config": "vllm",  # sampling is what a request says, not what the model suggests
        "disable_log_stats": True,
    }
    if start.lora is not None:
        lora = start.lora
        arguments |= {
            "enable_lora": True,
            "max_loras": 1,
            "max_lora_rank": next((rank for rank in LORA_RANKS if rank >= lora.rank), lora.rank),
            # vLLM would wrap the vocabulary's head too, which makes each step several times slower
            # on CPU, and prompt log-probabilities fail there (vllm#51594).
            "lora_target_modules": list(lora.modules),
        }
    if on_cpu:
        return arguments | {
            "kv_cache_memory_bytes": start.cpu_cache_gib * 2**30,
            "block_size": CPU_BLOCK,
            "enforce_eager": True,  # compiling takes longer than most cells run
            # vLLM 0.32 stops with "CPU Generator does not use offset" when a seeded request's
            # prompt is computed in two steps.
            "enable_chunked_prefill": False,
        }
    return arguments | {"gpu_memory_utilization": start.gpu_memory_share}


def serve(
    engine: Any, stop_ids: tuple[int, ...], inbox: Inbox, send: Callable[[WireMessage], None]
) -> None:
    """Run each command's requests together, and reply to each as soon as it ends."""
    from vllm.inputs import tokens_input  # pyright: ignore[reportMissingImports]
    from vllm.lora.request import LoRARequest  # pyright: ignore[reportMissingImports]

    running: dict[str, Generate | ScoreTokens] = {}
    while True:
        for work in take_commands(inbox, wait=not running):
            if not isinstance(work, Work):
                return
            engine.abort_request(list(running))
            running = {str(request.id): request for request in work.requests}
            lora = work.adapter and LoRARequest(
                f"adapter {work.adapter.number}", work.adapter.number, work.adapter.path
            )
            for name, request in running.items():
                tokens = request.prompt if isinstance(request, Generate) else request.tokens
                parameters = sampling_parameters(request, stop_ids)
                engine.add_request(name, tokens_input(list(tokens)), parameters, lora_request=lora)
        for output in engine.step():
            if output.finished and (request := running.pop(output.request_id, None)):
                send(reply(request, output))


def take_commands(inbox: Inbox, wait: bool) -> Iterator[Start | Work | None]:
    """The commands that are there, after the first has come if need be."""
    if wait:
        yield inbox.get()
    while not inbox.empty():
        yield inbox.get()


def sampling_parameters(request: Generate | ScoreTokens, stop_ids: tuple[int, ...]) -> Any:
    from vllm import SamplingParams  # pyright: ignore[reportAttributeAccessIssue]
    from vllm.sampling_params import RequestOutputKind  # pyright: ignore[reportMissingImports]

    every: dict[str, Any] = {"detokenize": False, "output_kind": RequestOutputKind.FINAL_ONLY}
    if isinstance(request, ScoreTokens):
        # Each token's own log-probability alone. Such a request never reads the prefix cache.
        return SamplingParams(
            **every,
            max_tokens=1,
            temperature=0,
            prompt_logprobs=0,
            flat_logprobs=True,
            skip_reading_prefix_cache=True,
        )
    return SamplingParams(
        **every,
        max_tokens=request.max_tokens,
        temperature=request.temperature,
        top_p=request.top_p,
        seed=request.seed if request.temperature else None,
        ignore_eos=True,
        stop_token_ids=list(stop_ids),
    )


def reply(request: Generate | ScoreTokens, output: Any) -> Generated | Scored:
    if isinstance(request, Generate):
        return Generated(id=request.id, tokens=tuple(output.outputs[0].token_ids))
    log_probs = output.prompt_logprobs.logprobs  # none for the first token
    if len(log_probs) != len(request.tokens) - 1:
        raise RuntimeError(
            f"{len(log_probs)} log-probabilities came for {len(request.tokens)} tokens"
        )
    return Scored(id=request.id, log_probs=tuple(log_probs[request.start - 1 :]))


if __name__ == "__main__":
    main()
