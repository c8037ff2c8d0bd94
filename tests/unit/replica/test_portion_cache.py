"""Portions in memory: read once as far as there is room, in any order of preparing and using."""

from collections import deque
from typing import Any

import numpy as np
import pytest

from dbmpi.data.portions import PortionPlan
from dbmpi.replica.portion_cache import PortionCache

ROWS, WIDTH = 100, 10
BYTES = 8 * 20  # of a portion of 20 rows of one float64


class Reader:
    """Reads rows that say which they are, in the order of the requests, as `Loader` does; counts them."""

    def __init__(self) -> None:
        self.requests: deque[list[tuple[int, int]]] = deque()
        self.reads = 0

    def request(self, ranges: list[tuple[int, int]]) -> None:
        self.requests.append(ranges)

    def take(self) -> tuple[Any, Any]:
        self.reads += 1
        return np.concatenate([np.arange(a, b, dtype=float) for a, b in self.requests.popleft()]), np.empty(0)

    def minibatches(self, rows: tuple[Any, Any], order: Any, width: int) -> Any:
        yield rows[0][order]


@pytest.fixture
def reader() -> Reader:
    return Reader()


def made(reader: Reader, room: int) -> tuple[PortionCache, PortionPlan]:
    plan = PortionPlan(ROWS, WIDTH, 1, 1, 2)
    return PortionCache(reader, plan, room), plan  # type: ignore[arg-type]


def rows_of(plan: PortionPlan, sample: int, index: int) -> list[int]:
    return [row for a, b in plan.blocks(sample, 0, index) for row in range(a, b)]


def used(cache: PortionCache, sample: int, index: int) -> list[int]:
    return [int(row) for minibatch in cache.minibatches(sample, index) for row in minibatch]


def test_a_portion_is_read_once(reader: Reader) -> None:
    cache, plan = made(reader, 10**6)
    for _ in range(3):
        for index in range(5):
            cache.prepare(0, index)
            assert used(cache, 0, index) == rows_of(plan, 0, index)
    assert reader.reads == 5 and not reader.requests


def test_what_does_not_fit_is_read_again_and_the_rest_is_not(reader: Reader) -> None:
    cache, plan = made(reader, 3 * BYTES)
    for _ in range(4):
        for index in range(5):
            cache.prepare(0, index)
            assert used(cache, 0, index) == rows_of(plan, 0, index)
    assert reader.reads == 3 + 4 * 2


def test_without_room_nothing_is_kept(reader: Reader) -> None:
    cache, plan = made(reader, 0)
    for _ in range(2):
        assert used(cache, 0, 1) == rows_of(plan, 0, 1)
    assert reader.reads == 2


def test_a_new_sample_takes_the_room_of_the_old_one(reader: Reader) -> None:
    cache, plan = made(reader, 2 * BYTES)
    for sample in (0, 1, 1):
        for index in (0, 1):
            cache.prepare(sample, index)
            assert used(cache, sample, index) == rows_of(plan, sample, index)
    assert reader.reads == 4
    assert used(cache, 0, 0) == rows_of(plan, 0, 0)  # left behind by an old pass: not kept
    assert used(cache, 1, 0) == rows_of(plan, 1, 0) and reader.reads == 5


def test_portions_may_be_used_in_another_order_than_prepared(reader: Reader) -> None:
    for room in (0, 10**6):
        cache, plan = made(reader, room)
        for index in (0, 1, 2):
            cache.prepare(0, index)
        cache.prepare(0, 1)  # twice: a copy that comes back
        for index in (2, 0, 1, 1):
            assert used(cache, 0, index) == rows_of(plan, 0, index)
        assert not reader.requests
