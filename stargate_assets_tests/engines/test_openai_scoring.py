"""Scores and adapters of a vLLM server: the tokens must be those of every other engine."""

from dataclasses import replace
from pathlib import Path
from re import sub

import pytest
from pytest_httpserver import HTTPServer

from stargate_assets.engines.chat_tokenizer import ChatTokenizer
from stargate_assets.engines.endpoints import Endpoint, RequestLimits
from stargate_assets.engines.openai import OpenAIEngine
from stargate_assets.engines.request_fields import RequestFields
from stargate_assets.method.language_model import (
    ChatRequest,
    EngineError,
    FailureReason,
    Message,
    Sampling,
    ScoreRequest,
)
from stargate_assets_tests.chat_templates import FAMILIES, chat_tokenizer
from stargate_assets_tests.models_of_today import TEMPLATES
from stargate_assets_tests.servers.faulty_chat_endpoint import answer, reply, requests
from stargate_assets_tests.servers.vllm_protocol import BASE, VllmServer, log_prob, served_vllm

SYSTEM = Message("system", "Be brief.")
USER = Message("user", "What do you do for a living?")
TALK = (USER, Message("assistant", "Where?"), Message("user", "At home."))
SHA256 = "0123456789abcdef" * 4
every_family = pytest.mark.parametrize("family", FAMILIES)


def engine(http: HTTPServer, *roots: str) -> OpenAIEngine:
    urls = tuple(http.url_for(f"{root}/v1") for root in roots or [""])
    return OpenAIEngine(
        BASE, Endpoint("HERE", urls, "none"), RequestFields(), RequestLimits(retries=0)
    )


def vllm(http: HTTPServer, family: str = "chatml") -> VllmServer:
    http.clear()
    return served_vllm(http, chat_tokenizer(family).tokenizer)


def adapter(directory: Path) -> Path:
    (directory / "adapter_config.json").write_text("{}")
    return directory


@every_family
@pytest.mark.parametrize("end_of_turn", [False, True])
def test_what_is_scored_are_the_tokens_of_the_other_engines(
    http: HTTPServer, family: str, end_of_turn: bool
) -> None:
    server, tokenizer = vllm(http, family), chat_tokenizer(family)
    asked = [
        ScoreRequest(messages, said, end_of_turn)
        for messages in ((USER,), TALK, (SYSTEM, USER))
        for said in ("I bake bread.", " bread", "é ☃\n\nHome")
    ]
    scores = dict(engine(http).score(asked))
    assert len(scores) == len(server.scored) == len(asked)
    for index, (context, said) in enumerate(tokenizer.scored(asked)):
        ids = [*context, *said]
        assert ids in server.scored
        expected = [log_prob(BASE, ids, position) for position in range(len(context), len(ids))]
        assert scores[index].log_probs == pytest.approx(expected)
        assert scores[index].prompt_tokens == len(context)


def test_what_is_too_long_for_the_server_has_a_failure_and_the_rest_a_score(
    http: HTTPServer,
) -> None:
    server = vllm(http)
    server.room = 60
    short, long = (ScoreRequest((USER,), "I bake. " * times) for times in (1, 60))
    scores = dict(engine(http).score([long, short]))
    assert scores[0].failure.reason is FailureReason.TOO_LONG
    assert "maximum context length is 60 tokens" in scores[0].failure.said
    assert scores[0].log_probs == ()
    assert scores[1] == dict(engine(http).score([short]))[0]


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_server_s_template_may_open_a_thought_or_a_channel(
    http: HTTPServer, smollm: Path, name: str
) -> None:
    stated, plain = TEMPLATES[name].stated, TEMPLATES[name].tokenizer(smollm)
    plain.chat_template = sub(r"strftime_now\('[^']*'\)", "'today'", plain.chat_template)
    tokenizer = ChatTokenizer(plain, name, stated)
    http.clear()
    server = served_vllm(http, plain)
    asked = [ScoreRequest(TALK, said, end_of_turn=True) for said in ("I bake bread.", " bread ")]
    scorer = replace(engine(http), chat_template_kwargs=dict(stated))
    scores = dict(scorer.score(asked))
    for index, (context, said) in enumerate(tokenizer.scored(asked)):
        assert [*context, *said] in server.scored
        assert scores[index].prompt_tokens == len(context)


@every_family
def test_a_system_text_is_never_lost_in_a_chat(http: HTTPServer, family: str) -> None:
    server = vllm(http, family)
    list(engine(http).chat([ChatRequest((SYSTEM, USER), Sampling(5))]))
    ((first, *rest),) = server.chats
    assert first["content"].startswith("Be brief.")
    assert len(rest) == FAMILIES[family].has_system_role


def test_a_hosted_endpoint_is_sent_the_system_message(http: HTTPServer) -> None:
    """It has no /tokenize, and may answer there with whatever it likes."""
    http.clear()
    http.expect_request("/v1/chat/completions").respond_with_handler(lambda _: answer("Hm."))
    http.expect_request("/tokenize").respond_with_data("<html>Welcome</html>")
    list(engine(http).chat([ChatRequest((SYSTEM, USER), Sampling(5))]))
    sent, _ = http.log[-1]
    assert [turn["role"] for turn in (sent.json or {})["messages"]] == ["system", "user"]


@pytest.mark.parametrize("missing", ["tokenize", "prompt_logprobs"])
def test_an_endpoint_that_cannot_score_says_what_can(http: HTTPServer, missing: str) -> None:
    http.clear()
    if missing == "prompt_logprobs":
        served_vllm(http, chat_tokenizer("chatml").tokenizer)
        http.expect_oneshot_request("/v1/completions").respond_with_json({"choices": [{}]})
    else:
        http.expect_request("/tokenize").respond_with_handler(lambda _: reply({}, 404))
    with pytest.raises(EngineError, match="serve the model with vLLM, or use engine: transf"):
        list(engine(http).score([ScoreRequest((USER,), "yes")]))


def test_every_server_loads_an_adapter_once_under_the_name_of_its_hash(
    http: HTTPServer, tmp_path: Path
) -> None:
    http.clear()
    tokenizer = chat_tokenizer("chatml").tokenizer
    servers = [served_vllm(http, tokenizer, root) for root in ("/a", "/b")]
    for _ in range(2):
        policy = engine(http, "/a", "/b").load_adapter(adapter(tmp_path), SHA256)
    name = f"policy-{SHA256[:16]}"
    expected = [{"lora_name": name, "lora_path": str(tmp_path)}]
    assert [server.loaded for server in servers] == [expected, expected]
    assert policy.model == name
    request = ScoreRequest((USER,), "I bake.")
    (_, base), (_, adapted) = [next(e.score([request])) for e in (engine(http, "/a"), policy)]
    assert adapted.mean == pytest.approx(base.mean - 1)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("no route", "must be a vLLM server with --enable-lora"),
        ("no such directory", "that sees this directory .*No adapter found"),
        ("not applied", "does not apply it"),
    ],
)
def test_an_adapter_that_is_not_served_is_an_error(
    http: HTTPServer, tmp_path: Path, fault: str, said: str
) -> None:
    server = vllm(http)
    server.loads_adapters = fault != "no route"
    server.applies_adapters = fault != "not applied"
    directory = tmp_path if fault == "no such directory" else adapter(tmp_path)
    with pytest.raises(EngineError, match=said):
        engine(http).load_adapter(directory, SHA256)


def test_nothing_is_asked_for_nothing(http: HTTPServer) -> None:
    http.clear()
    assert list(engine(http).score([])) == list(engine(http).chat(requests())) == []
    assert not http.log
