"""What the environment says of an endpoint, and what nobody may learn of it."""

import pytest

from stargate_assets.engines.endpoints import NO_KEY, endpoint
from stargate_assets.method.language_model import EngineError

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
