"""By how much the clocks of ranks differ, so that what they record can be put on one axis.

On one host all ranks read the same clock (`time.monotonic`). A rank of another host exchanges some messages
with rank 0: it asks, and rank 0 answers with its time. The answer was given between the question and its
arrival, so of each exchange half the round trip bounds the error; the shortest one counts.

References
----------
Cristian 1989, Probabilistic clock synchronization.
"""

import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dbmpi.comm.messages import complete
from dbmpi.comm.wait import Waiter

if TYPE_CHECKING:
    from mpi4py import MPI

EXCHANGES = 12
QUESTION, ANSWER = 32_003, 32_004  # tags; beyond those of `protocol` and `meeting`
Clock = Callable[[], float]


class Offset(NamedTuple):
    """What is to be added to the clock of a rank to have that of rank 0, in seconds.

    `error_s` bounds how wrong it is, and `at_s` is when it was found, by the clock of the rank.
    """

    offset_s: float = 0.0
    error_s: float = 0.0
    at_s: float = 0.0


def offset(
    comm: "MPI.Intracomm", others: Sequence[int], waiter: Waiter, clock: Clock = time.monotonic
) -> Offset:
    """Return the offset of this rank's clock. Collective over rank 0 and the `others`; elsewhere it is 0.

    Parameters
    ----------
    others
        Ranks whose clock may be another one than that of rank 0, the same on all ranks.
    clock
        What tells this rank's time.

    Raises
    ------
    PeerSilent
        One has not come.
    """
    rank = comm.Get_rank()
    if rank in others:
        return min((_ask(comm, waiter, clock) for _ in range(EXCHANGES)), key=lambda one: one.error_s)
    if rank == 0:
        for other in others:
            for _ in range(EXCHANGES):
                _answer(comm, other, waiter, clock)
    return Offset(at_s=clock())


def _ask(comm: "MPI.Intracomm", waiter: Waiter, clock: Clock) -> Offset:
    """Ask rank 0 for its time, once."""
    theirs = np.full(1, math.nan)
    request = comm.Irecv(theirs, 0, ANSWER)
    asked = clock()
    sent = comm.Isend(np.zeros(1), 0, QUESTION)
    complete(request, theirs, 0, "its time", waiter, partial(str, "rank 0 (its time)"))
    heard = clock()
    waiter.until(sent.Test, partial(str, "rank 0 (its time)"))
    return Offset(float(theirs[0]) - (asked + heard) / 2, (heard - asked) / 2, heard)


def _answer(comm: "MPI.Intracomm", other: int, waiter: Waiter, clock: Clock) -> None:
    """Answer a question of another rank."""
    question, peer = np.zeros(1), partial(str, f"rank {other} (the comparison of clocks)")
    request = comm.Irecv(question, other, QUESTION)
    complete(request, question, other, "its question", waiter, peer)
    sent = comm.Isend(np.array([clock()]), other, ANSWER)
    waiter.until(sent.Test, peer)
