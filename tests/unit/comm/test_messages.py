"""Small messages: a death that a send meets is known from then on, as no later call tells of it."""

from typing import Any

import numpy as np
import pytest
from mpi4py import MPI

from dbmpi.comm.messages import Outbox
from dbmpi.comm.protocol import SIGNAL, Tag
from dbmpi.comm.ulfm import FailureDetector
from dbmpi.errors import PeerDied
from tests.doubles.fake_mpi import Comm, tell

RECORD = np.zeros((), SIGNAL)


@pytest.fixture
def comm(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Three ranks, which the test plays."""
    made = Comm()
    tell(monkeypatch, made)
    return made


@pytest.mark.parametrize("on_its_way", [False, True])
def test_a_death_that_a_send_meets_is_learned(comm: Any, on_its_way: bool) -> None:
    detector = FailureDetector(comm, {})
    out = Outbox(comm, detector.learn)
    if on_its_way:
        out.send(RECORD, 2, Tag.SIGNAL)
    comm.dead.add(2)
    out.send(RECORD, 1 if on_its_way else 2, Tag.SIGNAL)
    assert detector.dead == [2]
    out.send(RECORD, 2, Tag.SIGNAL)
    assert detector.dead == [2] and comm.waiting(1, Tag.SIGNAL) == on_its_way


def test_the_death_of_a_rank_that_is_needed_is_raised(comm: Any) -> None:
    out = Outbox(comm, FailureDetector(comm, {2: "rank 2 (shard 0)"}).learn)
    comm.dead.add(2)
    with pytest.raises(PeerDied, match="rank 2 .shard 0. has died"):
        out.send(RECORD, 2, Tag.SIGNAL)


def test_a_rank_that_does_not_act_on_deaths_passes_over_them_and_over_nothing_else(comm: Any) -> None:
    comm.dead.add(2)
    Outbox(comm).send(RECORD, 2, Tag.SIGNAL)
    comm.Isend = lambda *given: (_ for _ in ()).throw(MPI.Exception(MPI.ERR_OTHER))
    comm.dead.clear()
    with pytest.raises(MPI.Exception):
        Outbox(comm).send(RECORD, 1, Tag.SIGNAL)
