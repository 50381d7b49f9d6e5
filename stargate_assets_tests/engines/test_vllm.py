"""The vLLM engine with the real bundled model, against the transformers engine: `make test-vllm`.

One vLLM at a time: a test that opens another closes the shared one, which starts again by itself.
"""

import json
import random
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from stargate_assets.config.machine import Machine
from stargate_assets.config.model_spec import ModelSpec
from stargate_assets.engines.engine import Checkpoint
from stargate_assets.engines.transformers import Batching, TransformersEngine
from stargate_assets.engines.vllm import Model, Resources, VllmEngine
from stargate_assets.method.language_model import (
    ChatRequest,
    Completion,
    EngineError,
    Message,
    Sampling,
    Score,
    ScoreRequest,
)
from stargate_assets.models.pool import ModelPool
from stargate_assets.storage.checkpoints import publish
from stargate_assets_tests.conftest import ROOT, USE
from stargate_assets_tests.engines.test_transformers import BF16, scores
from stargate_assets_tests.engines.test_vllm_process import (
    SECONDS_TO_BE_GONE,
    group,
    owner_is_ended_by,
)

pytestmark = pytest.mark.vllm
TOPICS = (
    "cook tonight", "read next", "do about my back", "plant in May", "learn this year",
    "say to my boss", "give my brother", "do on Sunday", "buy for the trip", "watch with friends",
    "do with old bread", "ask my doctor",
)  # fmt: skip

SYSTEM = Message("system", "You ask people short questions to get to know them. " * 4)


def engine(path: Path, log: Path, dtype: str = "float32") -> VllmEngine:
    return VllmEngine(
        Model(str(path), None, dtype), Resources(cpu_cache_gib=1), log, lambda *_: None
    )


def chats(sampling: Sampling) -> list[ChatRequest]:
    """24 prompts of different lengths with shared beginnings."""
    return [
        ChatRequest(
            (SYSTEM, Message("user", f"My name is Ana.{extra} What should I {topic}?")),
            sampling,
            seed,
        )
        for seed, (topic, extra) in enumerate(
            (topic, extra) for topic in TOPICS for extra in ("", " I live alone.")
        )
    ]


def ordered(results: Any) -> list[Any]:
    return [result for _, result in sorted(results, key=lambda pair: pair[0])]


def differences(some: list[Score], others: list[Score]) -> list[float]:
    """Between log-probabilities, token by token."""
    return [
        abs(a - b)
        for one, other in zip(some, others, strict=True)
        for a, b in zip(one.log_probs, other.log_probs, strict=True)
    ]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("logs") / "vllm.log"


@pytest.fixture(scope="module")
def fp32(smollm: Path, log: Path) -> Iterator[VllmEngine]:
    opened = engine(smollm, log)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def transformers(smollm: Path) -> TransformersEngine:
    return TransformersEngine(str(smollm), None, "float32", "cpu", Batching())


def test_greedy_texts_are_those_of_the_transformers_engine(
    fp32: VllmEngine, transformers: TransformersEngine
) -> None:
    requests = chats(Sampling(24))
    ours: list[Completion] = ordered(fp32.chat(requests))
    theirs: list[Completion] = ordered(transformers.chat(requests))
    same = sum(a == b for a, b in zip(ours, theirs, strict=True))
    assert same >= 0.95 * len(requests)
    assert {c.finish_reason for c in ours} == {"stop", "length"}


def test_log_probabilities_are_those_of_the_transformers_engine(
    fp32: VllmEngine, transformers: TransformersEngine
) -> None:
    ours, theirs = ordered(fp32.score(scores())), ordered(transformers.score(scores()))
    assert max(differences(ours, theirs)) < 1e-3
    assert [s.prompt_tokens for s in ours] == [s.prompt_tokens for s in theirs]


def test_scores_do_not_depend_on_order_batch_mates_or_what_the_prefix_cache_holds(
    fp32: VllmEngine,
) -> None:
    """The prefix cache, which completions read, never answers for a score."""
    requests = scores()
    first = ordered(fp32.score(requests))
    list(fp32.chat([ChatRequest(r.messages, Sampling(4)) for r in requests]))
    for seed in range(3):
        order = random.Random(seed).sample(range(len(requests)), len(requests))
        again = ordered(fp32.score([requests[i] for i in order]))
        assert max(differences(again, [first[i] for i in order])) < 1e-4
    alone = [ordered(fp32.score([request]))[0] for request in requests]
    assert max(differences(alone, first)) < 1e-4


def test_a_sample_is_its_seed_s_whatever_its_batch_mates(fp32: VllmEngine) -> None:
    requests = chats(Sampling(16, 0.9, 0.95))
    together = ordered(fp32.chat(requests))
    backwards = ordered(fp32.chat(requests[::-1]))[::-1]
    alone = ordered(fp32.chat(requests[5:6]))[0]
    assert backwards == together
    assert alone == together[5]
    assert len({c.text for c in together}) > 12
    reseeded = [ChatRequest(r.messages, r.sampling, r.seed + 1000) for r in requests]
    assert ordered(fp32.chat(reseeded)) != together


def test_what_does_not_fit_is_one_request_s_failure_with_its_length(fp32: VllmEngine) -> None:
    long = ScoreRequest((Message("user", "no " * 9000),), "Yes.")
    *scored, failed = ordered(fp32.score([*scores(), long]))
    assert all(score.failure is None for score in scored)
    for result in (failed, *ordered(fp32.chat(chats(Sampling(9000))))):
        assert re.search(r"needs 9\d\d\d tokens .* in vLLM has room for 8192", result.failure.said)


def test_no_requests_are_no_work(fp32: VllmEngine) -> None:
    assert list(fp32.chat([])) == list(fp32.score([])) == []


def test_closing_leaves_no_process_and_the_next_call_starts_vllm_again(fp32: VllmEngine) -> None:
    list(fp32.score(scores()[:1]))
    assert fp32.process is not None
    processes = group(fp32.process.process.pid)
    fp32.close()
    _, alive = psutil.wait_procs(processes, SECONDS_TO_BE_GONE)
    assert processes != [] == alive
    assert len(list(fp32.score(scores()[:1]))) == 1


def adapter(base: Path, path: Path, rank: int, *, trained: bool = True) -> Path:
    """A LoRA adapter of random weights, or one that has seen no step and changes nothing."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(rank)
    model: Any = AutoModelForCausalLM.from_pretrained(base)
    lora = get_peft_model(model, LoraConfig(r=rank, target_modules="all-linear"))
    if trained:
        for name, parameter in lora.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.02)
    lora.save_pretrained(path)
    return path


def test_adapters_apply_are_left_again_and_must_do_something(
    fp32: VllmEngine, transformers: TransformersEngine, smollm: Path, tmp_path: Path
) -> None:
    fp32.close()
    base = ordered(fp32.score(scores()))
    small, large = adapter(smollm, tmp_path / "s", 4), adapter(smollm, tmp_path / "l", 16)
    for path in (small, large, small):
        fp32.use(Checkpoint(path, "any"))
        transformers.use(Checkpoint(path, "any"))
        adapted = ordered(fp32.score(scores()))
        assert max(differences(adapted, ordered(transformers.score(scores())))) < 1e-3
        assert max(differences(adapted, base)) > 0.1
        fp32.use(None)
        assert max(differences(ordered(fp32.score(scores())), base)) < 1e-4
    transformers.use(None)
    fp32.use(Checkpoint(adapter(smollm, tmp_path / "n", 4, trained=False), "any"))
    with pytest.raises(EngineError, match="changes nothing in vLLM"):
        list(fp32.score(scores()))
    with pytest.raises(EngineError, match=r"could not be loaded .*materialise"):
        fp32.use(Checkpoint(tmp_path, "any"))
    fp32.use(None)
    fp32.lora = None
    fp32.close()


def gold_scores() -> list[ScoreRequest]:
    """Gold responses of the shipped data set, long enough for a mean."""
    lines = (ROOT / "stargate_assets/defs/everyday_mini/gold_responses.jsonl").read_text()
    golds = [json.loads(line) for line in lines.splitlines()[:8]]
    return [ScoreRequest((Message("user", g["task"]),), g["text"]) for g in golds]


@pytest.mark.skipif(not BF16, reason="no bf16")
def test_bf16_scores_are_as_near_to_exact_as_bf16_is_and_do_not_depend_on_order(
    fp32: VllmEngine, transformers: TransformersEngine, smollm: Path, log: Path
) -> None:
    """A single token of this model is 0.04 nats off on average, in plain transformers too."""
    fp32.close()
    requests = gold_scores()
    opened = engine(smollm, log, "bfloat16")
    try:
        found = ordered(opened.score(requests))
        assert ordered(opened.score(requests[::-1]))[::-1] == found
    finally:
        opened.close()
    exact = ordered(transformers.score(requests))
    assert max(abs(a.mean - b.mean) for a, b in zip(found, exact, strict=True)) < 0.02
    away = differences(found, exact)
    other = TransformersEngine(str(smollm), None, "bfloat16", "cpu", Batching())
    other_away = differences(ordered(other.score(requests)), exact)
    assert sum(away) < 1.3 * sum(other_away)


def test_the_pool_opens_bases_and_full_checkpoints_in_turn_and_frees_them(
    fp32: VllmEngine, smollm: Path, tmp_path: Path
) -> None:
    """A fully trained policy is a model of its own, so with room for one model the base goes."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    fp32.close()
    trained: Any = AutoModelForCausalLM.from_pretrained(smollm, dtype=torch.float32)
    trained.model.norm.weight.data *= 0.5
    trained.save_pretrained(tmp_path / "aside")
    AutoTokenizer.from_pretrained(smollm).save_pretrained(tmp_path / "aside")
    full = Checkpoint(tmp_path / "full", publish(tmp_path / "aside", tmp_path / "full"))
    spec = ModelSpec(engine="vllm", model=str(smollm), dtype="float32", max_length=512)
    steps: list[tuple[str, int, int]] = []
    pool = ModelPool(
        tmp_path,
        Machine(device="cpu", models_in_memory=1, cpu_cache_gib=1),
        lambda *step: steps.append(step),
    )
    base = pool.open(spec, USE).score(scores(), "scoring")
    policy = pool.open(spec, USE, full).score(scores(), "scoring")
    assert min(differences(base, policy)) > 0
    ours = [p for p in psutil.Process().children() if "vllm_server" in " ".join(p.cmdline())]
    assert len(ours) == 1
    pool.close()
    _, alive = psutil.wait_procs(ours, SECONDS_TO_BE_GONE)
    assert alive == []
    assert ("scoring", len(scores()), len(scores())) in steps
    assert f"starting vLLM with {smollm.name}" in {doing for doing, _, _ in steps}
    asked = [ChatRequest((SYSTEM,), Sampling(tokens)) for tokens in (512, 4)]
    too_long, answered = pool.open(spec, USE).chat(asked, "asking")
    assert too_long.failure is not None
    assert "room for 512" in too_long.failure.said
    assert answered.failure is None
    pool.close()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_vllm_ends_with_its_owner(
    fp32: VllmEngine, number: signal.Signals, smollm: Path, log: Path
) -> None:
    fp32.close()
    owner_is_ended_by(number, str(log), str(smollm))
