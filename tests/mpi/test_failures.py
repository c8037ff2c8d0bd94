"""What errors of MPI are taken for a death: none without one, with any MPI."""

from typing import Any

import pytest
from mpi4py import MPI

from dbmpi.comm import ulfm
from dbmpi.errors import PeerDied

pytestmark = pytest.mark.mpi(ranks=[1, 2])
CLASSES = ["ERR_TRUNCATE", "ERR_IN_STATUS", "ERR_PROC_FAILED", "ERR_REVOKED"]


@pytest.mark.parametrize("name", CLASSES)
def test_an_error_tells_of_no_death_where_nobody_is_dead(comm: Any, name: str) -> None:
    error = MPI.Exception(getattr(MPI, name, MPI.ERR_OTHER))
    assert ulfm.failed(comm) == [] and not ulfm.revoked(comm)
    assert not ulfm.tells_of_death(error, comm) and not ulfm.lost(error, comm)
    with pytest.raises(MPI.Exception) as raised:
        ulfm.FailureDetector(comm, {0: "rank 0"}).learn(error)
    assert raised.value is error
    with pytest.raises(MPI.Exception) as raised, ulfm.readable(comm):
        raise error
    assert raised.value is error


def test_names_of_the_dead() -> None:
    assert str(PeerDied.named(["rank 1 (shard 0)"])).startswith("rank 1 (shard 0) has died")
    assert "rank 1, rank 2 have died" in str(PeerDied.named(["rank 1", "rank 2"]))


def test_what_is_said_of_one_that_was_killed_as_it_was_silent(comm: Any) -> None:
    detector = ulfm.FailureDetector(comm, {})
    detector.silent.add(1)
    named = [detector.called(rank, f"rank {rank}") for rank in (0, 1)]
    assert named == ["rank 0", "rank 1, which was silent,"]
