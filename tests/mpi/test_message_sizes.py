"""A message that has not its size is refused, whether it is shorter or longer."""

from typing import Any

import numpy as np
import pytest
from mpi4py import MPI

from dbmpi.comm.messages import Inbox, has_come
from dbmpi.comm.protocol import COMMAND, Tag
from dbmpi.errors import ProtocolError

pytestmark = pytest.mark.mpi(ranks=[2])


@pytest.mark.parametrize(
    ("size", "says"), [(7, "has 7 bytes where 8 were due"), (9, "has more than the 8 bytes that were due")]
)
def test_a_message_of_a_wrong_size_is_refused(comm: Any, size: int, says: str) -> None:
    comm.Set_errhandler(MPI.ERRORS_RETURN)
    if comm.rank == 0:
        comm.Send(np.zeros(size, np.uint8), 1, 5)
        return
    request = comm.Irecv(np.zeros(8, np.uint8), 0, 5)
    with pytest.raises(ProtocolError, match=f"PARAMETERS from rank 0 {says}"):
        while not has_come(request, MPI.Status(), 8, "PARAMETERS", 0):
            pass


def test_a_closed_inbox_has_nothing(comm: Any) -> None:
    inbox = Inbox(comm, 1 - comm.rank, Tag.COMMAND, COMMAND)
    comm.Barrier()
    inbox.close()
    assert inbox.take() is None
