"""Shards among themselves, without a coordinator: who waits, and who writes, is not silent."""

import time
from typing import Any

import pytest

from dbmpi.comm.protocol import Emergency
from dbmpi.comm.wait import WATCHED, Waiter
from dbmpi.server.gathering import Gathering

pytestmark = pytest.mark.mpi(ranks=[3])
SHORT_S = 0.1


def test_who_waits_for_one_that_waits_for_one_that_writes_hears_signs_of_life(comm: Any) -> None:
    gathering, others = Gathering(comm, Waiter(SHORT_S)), [rank for rank in range(3) if rank != comm.rank]
    with gathering.attending(lambda: others):
        if comm.rank == 2:
            gathering.meanwhile(lambda: time.sleep(2 * WATCHED * SHORT_S))
            gathering.tell([0], Emergency.WRITTEN, number=1)
        elif comm.rank == 0:
            assert gathering.expect(2, Emergency.WRITTEN, 1) is not None
            gathering.tell(others, Emergency.END)
        if comm.rank:
            letter = gathering.next(0)
            assert letter is not None and letter.kind is Emergency.END
    comm.Barrier()
