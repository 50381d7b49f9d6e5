"""The engine for endpoints against two live vLLM servers, and against the transformers engine."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from stargate_assets.engines.endpoints import NO_KEY, Endpoint, RequestLimits
from stargate_assets.engines.engine import Checkpoint
from stargate_assets.engines.openai import OpenAIEngine
from stargate_assets.engines.request_fields import RequestFields
from stargate_assets.engines.transformers import Batching, TransformersEngine
from stargate_assets.method.language_model import (
    ChatRequest,
    Completion,
    EngineError,
    FailureReason,
    Message,
    Sampling,
    ScoreRequest,
)
from stargate_assets_tests.engines.test_transformers import scores
from stargate_assets_tests.engines.test_vllm import adapter, chats, differences, ordered
from stargate_assets_tests.servers.live_vllm_servers import NAME, LiveServer

pytestmark = pytest.mark.vllm
Live = tuple[LiveServer, LiveServer]
USER = Message("user", "What should I cook tonight?")
SCHEMA = {
    "type": "object",
    "properties": {"better": {"enum": ["A", "B"]}},
    "required": ["better"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def live(live_vllm: Live) -> OpenAIEngine:
    at = Endpoint("LIVE", tuple(f"{server.url}/v1" for server in live_vllm), NO_KEY)
    return OpenAIEngine(NAME, at, RequestFields(), RequestLimits(retries=0))


@pytest.fixture(scope="module")
def transformers(smollm: Path) -> TransformersEngine:
    return TransformersEngine(str(smollm), None, "float32", "cpu", Batching())


def test_greedy_texts_are_those_of_the_transformers_engine(
    live: OpenAIEngine, live_vllm: Live, transformers: TransformersEngine
) -> None:
    requests = chats(Sampling(24))
    before = [server.answered() for server in live_vllm]
    ours: list[Completion] = ordered(live.chat(requests))
    theirs: list[Completion] = ordered(transformers.chat(requests))
    same = sum(a == b for a, b in zip(ours, theirs, strict=True))
    assert same >= 0.95 * len(requests)
    assert {c.finish_reason for c in ours} == {"stop", "length"}
    assert all(s.answered() > some for s, some in zip(live_vllm, before, strict=True))


def test_log_probabilities_are_those_of_the_transformers_engine(
    live: OpenAIEngine, transformers: TransformersEngine
) -> None:
    requests = [*scores(), ScoreRequest((Message("system", "Be brief."), USER), "é ☃\n\nRice.")]
    ours, theirs = ordered(live.score(requests)), ordered(transformers.score(requests))
    assert max(differences(ours, theirs)) < 1e-3
    assert [s.prompt_tokens for s in ours] == [s.prompt_tokens for s in theirs]


def test_a_sample_is_its_seed_s(live: OpenAIEngine) -> None:
    requests = chats(Sampling(12, 0.9, 0.95))[:8]
    first = ordered(live.chat(requests))
    assert ordered(live.chat(requests[::-1]))[::-1] == first
    reseeded = [replace(request, seed=request.seed + 1000) for request in requests]
    assert ordered(live.chat(reseeded)) != first


def test_an_adapter_is_loaded_by_both_servers_and_applies(
    live: OpenAIEngine, transformers: TransformersEngine, smollm: Path, tmp_path: Path
) -> None:
    path = adapter(smollm, tmp_path / "trained", 4)
    policy = live.load_adapter(path, "a" * 64)
    assert live.load_adapter(path, "a" * 64) == policy
    transformers.use(Checkpoint(path, "any"))
    adapted, base = ordered(policy.score(scores())), ordered(live.score(scores()))
    theirs = ordered(transformers.score(scores()))
    requests = chats(Sampling(12))
    texts, expected = ordered(policy.chat(requests)), ordered(transformers.chat(requests))
    transformers.use(None)
    assert max(differences(adapted, theirs)) < 1e-3
    assert max(differences(adapted, base)) > 0.1
    assert sum(a == b for a, b in zip(texts, expected, strict=True)) >= 0.95 * len(requests)
    assert texts != ordered(live.chat(requests))


def test_an_adapter_that_does_nothing_or_is_not_there_is_an_error(
    live: OpenAIEngine, smollm: Path, tmp_path: Path
) -> None:
    untrained = adapter(smollm, tmp_path / "untrained", 4, trained=False)
    with pytest.raises(EngineError, match="does not apply it"):
        live.load_adapter(untrained, "b" * 64)
    with pytest.raises(EngineError, match="that sees this directory"):
        live.load_adapter(tmp_path / "nowhere", "c" * 64)


def test_a_structure_is_held_to(live: OpenAIEngine) -> None:
    requests = [
        ChatRequest((USER,), Sampling(32, 0.9), seed, json.dumps(SCHEMA)) for seed in range(4)
    ]
    for completion in ordered(live.chat(requests)):
        assert json.loads(completion.text)["better"] in ("A", "B")


def test_a_structure_that_vllm_does_not_take_is_left_out(live: OpenAIEngine) -> None:
    plain = ChatRequest((USER,), Sampling(8))
    impossible = replace(plain, structure='{"type": "no such type"}')
    assert ordered(live.chat([impossible])) == ordered(live.chat([plain]))


def test_a_model_that_is_not_there_is_an_error(live: OpenAIEngine) -> None:
    nobody = replace(live, model="nobody")
    with pytest.raises(EngineError, match="has no model 'nobody'; correct its name"):
        list(nobody.chat([ChatRequest((USER,), Sampling(8))]))
    with pytest.raises(EngineError, match="gives no log-probabilities of prompts for 'nobody'"):
        list(nobody.score(scores()))


def test_a_request_that_vllm_refuses_is_one_request_s_failure(live: OpenAIEngine) -> None:
    fits, too_long = (ChatRequest((USER,), Sampling(tokens)) for tokens in (8, 5000))
    answered, refused = ordered(live.chat([fits, too_long]))
    assert answered.failure is None
    assert refused.finish_reason == "refused"
    assert refused.failure.reason in (FailureReason.TOO_LONG, FailureReason.REJECTED)
    assert "5000" in refused.failure.said
