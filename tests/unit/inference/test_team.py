"""The ranks of a job that asks a model: whom messages name."""

import numpy as np
import pytest

from dbmpi.comm.wait import Waiter
from dbmpi.errors import PeerSilent
from dbmpi.inference import team
from tests.doubles.fake_mpi import Comm


class Deaf(Comm):
    """A rank of 4, whose messages nobody takes."""

    def __init__(self, rank: int) -> None:
        super().__init__()
        self.rank = rank

    def Get_rank(self) -> int:
        """See MPI."""
        return self.rank

    def Get_size(self) -> int:
        """See MPI."""
        return 4

    def Dup(self) -> "Deaf":
        """See MPI."""
        return self

    def Split(self, replica: int, partition: int) -> "Deaf":
        """See MPI."""
        return self


@pytest.mark.parametrize(("rank", "silent"), [(1, 0), (2, 0), (3, 2)])
def test_who_takes_nothing_is_named(monkeypatch, rank, silent):
    monkeypatch.setattr(team, "exchanged", lambda *given: None)
    one = team.Team(Deaf(rank), 2, Waiter(0.01, patience=1.0))
    outputs = np.zeros((3, 2))
    loads = [lambda: outputs] * (2 * team.AHEAD + 2)

    def compute(outputs_NO: np.ndarray) -> bytes | None:
        return b"rows" if one.partition == 0 else one.gather(outputs_NO, None)

    with pytest.raises(PeerSilent, match=rf" from rank {silent} \(what was computed\)"):
        list(one.ordered(loads, compute))
