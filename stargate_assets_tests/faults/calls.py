"""What an endpoint does to single calls, through the engine that asks and the store that keeps."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from typing import Any

from stargate_assets.engines.endpoints import Endpoint, RequestLimits
from stargate_assets.engines.openai import OpenAIEngine
from stargate_assets.method.judging import Comparison, judge
from stargate_assets.method.language_model import (
    Completion,
    LanguageModel,
    Message,
    Sampling,
    ScoreRequest,
)
from stargate_assets.method.prompts import SHIPPED
from stargate_assets.models.stored import StoredModel
from stargate_assets_tests.chat_templates import chat_tokenizer
from stargate_assets_tests.faults.scope import Scope, Survived, refused
from stargate_assets_tests.method.people import grid
from stargate_assets_tests.servers import faulty_chat_endpoint as server
from stargate_assets_tests.servers.vllm_protocol import BASE, served_vllm

PROMPTS = ("one", "two", "three", "four")
FAULTY = "three"
REQUEST = ScoreRequest((Message("user", "Who are you?"),), "I am a baker.")


def _ask(model: StoredModel) -> list[Completion]:
    return model.chat(server.requests(*PROMPTS), "asking")


def _endpoint(scope: Scope) -> server.FaultServer:
    scope.http.clear()
    return server.served(scope.http)


def answered_after(
    fault: Callable[[server.FaultServer], server.Fault], sentence: str, scope: Scope
) -> Survived:
    """One request meets the fault; where the run stops with a sentence, another run goes on."""
    at = _endpoint(scope)
    at.faults = {FAULTY: [fault(at)] * (99 if sentence else 1)}
    model = at.model(scope.directory, retries=2, read_seconds=1.0)
    if sentence:
        refused(sentence, partial(_ask, model))
        at.faults = {}
    found = _ask(model)
    at.over.set()
    if any(completion.finish_reason == "refused" for completion in found):
        found = _ask(model)
    differ = sum(a != b for a, b in zip(found, server.right(*PROMPTS), strict=True))
    return Survived(sum(at.answered.values()) - len(PROMPTS), differ)


def kept_as_said(answer: server.Fault, expected: Completion, scope: Scope) -> Survived:
    """An answer of no use is an answer: it is kept, and not asked for again."""
    at = _endpoint(scope)
    at.faults = {FAULTY: [answer]}
    model = at.model(scope.directory)
    first, again = _ask(model), _ask(model)
    right = server.right(*PROMPTS)
    right[PROMPTS.index(FAULTY)] = expected
    differ = sum(a != b for a, b in zip(first + again, right + right, strict=True))
    return Survived(len(at.asked) - len(PROMPTS), differ)


def malformed_verdict(scope: Scope) -> Survived:
    """The first verdict cannot be read; the second can, and is that of a clear Judge."""
    at = _endpoint(scope)
    numbers = count()

    def verdict(mumbles: bool) -> server.Fault:
        def say(request: Any) -> Any:
            first = next(numbers) == 0
            return server.answer("Hm." if mumbles and first else "FINAL VERDICT: A")

        return say

    def verdicts(name: str) -> Sequence[object]:
        model: LanguageModel = at.model(scope.directory / name)
        compared = [Comparison(pair, "One.", "Other.") for pair in grid(1, 2)]
        return [j.verdict for j in judge(model, "written", compared, Sampling(9), SHIPPED)]

    at.always = verdict(mumbles=True)
    (scope.directory / "mumbling").mkdir()
    (scope.directory / "clear").mkdir()
    found = verdicts("mumbling")
    at.always = verdict(mumbles=False)
    expected = verdicts("clear")
    return Survived(differ=sum(a != b for a, b in zip(found, expected, strict=True)))


def adapter_without_effect(scope: Scope) -> Survived:
    """A server takes an adapter and does not apply it."""
    scope.http.clear()
    served = served_vllm(scope.http, chat_tokenizer("chatml").tokenizer)
    adapter = scope.directory / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text("{}")
    at = Endpoint("HERE", (scope.http.url_for("/v1"),), "key")
    engine = OpenAIEngine(BASE, at, "max_tokens", RequestLimits())
    served.applies_adapters = False
    refused("does not apply it", partial(engine.load_adapter, adapter, "0" * 64))
    served.applies_adapters = True
    policy = engine.load_adapter(adapter, "0" * 64)
    return Survived(differ=list(policy.score([REQUEST])) == list(engine.score([REQUEST])))
