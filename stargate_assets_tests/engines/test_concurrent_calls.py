import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from stargate_assets.engines.concurrent_calls import results_as_completed
from stargate_assets.method.language_model import EngineError


class Resources:
    """Remembers how many were in it, and who had to leave."""

    def __init__(self) -> None:
        self.inside, self.most, self.sent_away, self.closed = 0, 0, 0, False

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Resources"]:
        try:
            yield self
        finally:
            self.closed = True


async def double(room: Resources, number: int) -> int:
    room.inside += 1
    room.most = max(room.most, room.inside)
    try:
        for _ in range(number % 3):
            await asyncio.sleep(0)
        if number == 99:
            await asyncio.get_running_loop().create_future()  # for ever
        if number == 13:
            raise EngineError("Not thirteen.")
        if number == 14:
            raise ZeroDivisionError
    except asyncio.CancelledError:
        room.sent_away += 1
        raise
    finally:
        room.inside -= 1
    return 2 * number


def test_every_request_has_its_result_and_no_more_than_allowed_are_under_way() -> None:
    room = Resources()
    found = dict(results_as_completed(room.open, double, [5, 0, 7, 1, 20, 6], 3))
    assert found == {0: 10, 1: 0, 2: 14, 3: 2, 4: 40, 5: 12}
    assert (room.most, room.inside, room.closed) == (3, 0, True)


def test_a_failure_comes_after_the_results_of_what_was_under_way() -> None:
    room, found = Resources(), dict[int, int]()
    with pytest.raises(EngineError, match="Not thirteen"):
        for index, result in results_as_completed(room.open, double, [13, 2, 5, 1, 1, 1], 3):
            found[index] = result
    assert found == {1: 4, 2: 10}
    assert room.closed


def test_a_fault_of_our_own_is_not_taken_for_an_endpoint_s() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        list(results_as_completed(Resources().open, double, [99, 14], 2))
    assert caught.group_contains(ZeroDivisionError)


def test_closing_sends_away_what_is_under_way() -> None:
    room = Resources()
    results = results_as_completed(room.open, double, [1, 99, 99], 3)
    assert next(results) == (0, 2)
    results.close()
    assert (room.sent_away, room.inside, room.closed) == (2, 0, True)


def test_it_works_where_an_event_loop_runs_already() -> None:
    async def inside() -> dict[int, int]:
        return dict(results_as_completed(Resources().open, double, [1, 2], 2))

    assert asyncio.run(inside()) == {0: 2, 1: 4}
