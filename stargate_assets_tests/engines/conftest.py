from collections.abc import Iterator

import pytest
from pytest_httpserver import HTTPServer

from stargate_assets_tests.servers.faulty_chat_endpoint import FaultServer, served


@pytest.fixture
def server(http: HTTPServer) -> Iterator[FaultServer]:
    http.clear()
    faulty = served(http)
    yield faulty
    faulty.over.set()
    http.check()
