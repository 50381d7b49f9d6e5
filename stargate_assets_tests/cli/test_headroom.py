"""`stargate headroom` on a small data set whose models are scripted."""

from collections.abc import Callable

import pytest

from stargate_assets.cli.driver import DriverError
from stargate_assets.cli.headroom import describe_headroom
from stargate_assets.config.model_spec import ModelSpec
from stargate_assets.definitions.project import Project
from stargate_assets_tests.conftest import SCRIPTED


def test_headroom_is_told_before_anything_is_made(scripted_project: Callable[..., Project]) -> None:
    said = list(describe_headroom(scripted_project(), "mini", ModelSpec(**SCRIPTED), pairs=3))
    assert said[0].startswith("mini, test: 4 gold responses of 7 to 8 words")
    assert said[1].startswith("3 of them under any at scripted: ")
    assert said[2].startswith("least: ")
    with pytest.raises(DriverError, match="There is no data set 'loop'; there are: mini"):
        list(describe_headroom(scripted_project(), "loop", ModelSpec(**SCRIPTED), pairs=3))
