"""Clocks of hosts are compared, and what ranks record lies on one axis."""

import time
from typing import Any

import pytest

from dbmpi.comm.clocks import offset
from dbmpi.comm.wait import Waiter

pytestmark = pytest.mark.mpi(ranks=[3])


def test_the_offset_of_a_clock_is_found_within_its_error(comm: Any) -> None:
    ahead = [0.0, 1234.5, -77.25][comm.rank]
    found = offset(comm, [1, 2], Waiter(30.0), lambda: time.monotonic() + ahead)
    assert abs(found.offset_s + ahead) <= found.error_s + 1e-6
    assert found.error_s < 1.0
    assert (found.error_s > 0) is (comm.rank > 0)


def test_ranks_on_the_host_of_rank_0_are_not_asked(comm: Any) -> None:
    found = offset(comm, [2], Waiter(30.0))
    assert (found.error_s > 0) is (comm.rank == 2)
