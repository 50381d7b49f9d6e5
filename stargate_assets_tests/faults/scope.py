"""Where a fault is caused that needs no whole run, and what is found."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer

from stargate_assets.method.errors import StargateError


@dataclass(frozen=True)
class Scope:
    """Where a fault is caused: a directory, a server on loopback, and a tiny model."""

    directory: Path
    http: HTTPServer
    model: Path


@dataclass(frozen=True)
class Survived:
    repeated: int = 0
    differ: int = 0


def refused(sentence: str, act: Callable[[], object]) -> None:
    """Do what must be refused in one sentence."""
    with pytest.raises(StargateError, match=sentence) as raised:
        act()
    assert "\n" not in str(raised.value)
