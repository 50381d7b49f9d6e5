"""What the environment says of an endpoint, and what nobody may learn of it."""

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from pytest_httpserver import HTTPServer

from stargate_assets.engines.endpoints import NO_KEY, RequestLimits, endpoint
from stargate_assets.engines.openai import OpenAIEngine
from stargate_assets.engines.request_fields import RequestFields
from stargate_assets.method.language_model import ChatRequest, EngineError, Message, Sampling
from stargate_assets_tests.servers.faulty_chat_endpoint import answer

KEY = "sk-a-very-secret-key"
HERE = "http://127.0.0.1:8000/v1"


def test_openai_needs_a_key_alone() -> None:
    found = endpoint("OPENAI", {"OPENAI_API_KEY": KEY})
    assert (found.base_urls, found.api_key) == ((None,), KEY)


def test_several_servers_are_separated_by_commas() -> None:
    found = endpoint(
        "FARM_2", {"FARM_2_BASE_URL": f"{HERE}, https://b.org/v1,", "FARM_2_API_KEY": KEY}
    )
    assert found.base_urls == (HERE, "https://b.org/v1")


@pytest.mark.parametrize("url", [HERE, "http://localhost:1/v1", "http://[::1]:8000/v1"])
def test_a_server_on_loopback_needs_no_key(url: str) -> None:
    assert endpoint("HERE", {"HERE_BASE_URL": url}).api_key == NO_KEY


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "has no address; set FARM_BASE_URL"),
        ({"FARM_BASE_URL": " , "}, "has no address; set FARM_BASE_URL"),
        ({"FARM_BASE_URL": "https://b.org/v1"}, "needs a key; set FARM_API_KEY"),
        ({"FARM_BASE_URL": f"{HERE},https://b.org/v1"}, "needs a key; set FARM_API_KEY"),
        ({"FARM_BASE_URL": "https://127.evil.org/v1"}, "needs a key; set FARM_API_KEY"),
        ({"FARM_BASE_URL": "b.org/v1"}, "is not an address"),
        ({"FARM_BASE_URL": "http://b.org:many/v1"}, "is not an address"),
        ({"FARM_BASE_URL": f"https://me:{KEY}@b.org/v1"}, "nothing but an address"),
        ({"FARM_BASE_URL": f"https://b.org/v1?key={KEY}"}, "nothing but an address"),
        ({"FARM_BASE_URL": HERE, "FARM_API_KEY": f"“{KEY}”"}, "FARM_API_KEY has a character"),
        ({"FARM_BASE_URL": HERE, "FARM_API_KEY": f"{KEY}\n{KEY}"}, "FARM_API_KEY has a character"),
    ],
)
def test_what_is_missing_or_wrong_is_named_and_not_shown(
    environment: dict[str, str], said: str
) -> None:
    with pytest.raises(EngineError, match=said) as caught:
        endpoint("FARM", environment)
    assert "b.org" not in str(caught.value)
    assert KEY not in str(caught.value)


def test_openai_without_a_key_names_the_variable() -> None:
    with pytest.raises(EngineError, match="set OPENAI_API_KEY"):
        endpoint("OPENAI", {"FARM_API_KEY": KEY})


def test_an_endpoint_does_not_show_its_address_or_key() -> None:
    found = endpoint("FARM", {"FARM_BASE_URL": HERE, "FARM_API_KEY": KEY})
    assert repr(found) == "Endpoint(label='FARM')"


def ask(url: str) -> str:
    at = endpoint("FARM", {"FARM_BASE_URL": url, "FARM_API_KEY": KEY})
    engine = OpenAIEngine("any", at, RequestFields(), RequestLimits(retries=0))
    ((_, completion),) = engine.chat([ChatRequest((Message("user", "Who?"),), Sampling(4))])
    return completion.text


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def secure(authority: trustme.CA) -> Iterator[HTTPServer]:
    """A server whose certificate nobody but `authority` vouches for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with HTTPServer("127.0.0.1", ssl_context=context) as server:
        server.expect_request("/v1/chat/completions").respond_with_handler(lambda _: answer("Me."))
        yield server


def test_a_certificate_is_trusted_if_the_environment_vouches_for_it(
    secure: HTTPServer, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(EngineError, match=r"certificate of the endpoint FARM is not trusted \("):
        ask(secure.url_for("/v1"))
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    assert ask(secure.url_for("/v1")) == "Me."


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("HTTPS_PROXY", f"http://me:{KEY}@127.0.0.1:9", "The proxy .* correct HTTP_PROXY"),
        ("HTTPS_PROXY", f"socks9://me:{KEY}@127.0.0.1:9", "a proxy that has no address"),
        ("SSL_CERT_FILE", "/nowhere/ca.pem", r"cannot be read \(No such file or directory\)"),
        ("ANY", "", "The host of the endpoint FARM is not known"),
    ],
)
def test_why_no_connection_comes_about_is_said_without_a_password(
    name: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(EngineError, match=said) as caught:
        ask("https://nowhere.invalid/v1")
    assert KEY not in str(caught.value)
    assert caught.value.__context__ is None
