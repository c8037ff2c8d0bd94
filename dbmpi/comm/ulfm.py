"""The death of ranks, where MPI tells of it: ULFM, which Open MPI has under `mpirun --with-ft ulfm`.

A call that needs a dead rank raises; so does every probe for any source, until the death is acknowledged.
Only this module knows which exceptions tell of a death, who is dead, and how a job ends then; calls that may
meet a death go through `messages.tolerant`. Without ULFM the launcher ends the job when a rank dies, and
nothing here is ever reached.

References
----------
Bland, Bouteiller, Herault, Bosilca, Dongarra: *Post-failure recovery of MPI communication capability*, 2013.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, NoReturn

from mpi4py import MPI

from dbmpi.awake import Deadline
from dbmpi.comm.ancestry import DEATHS, launcher
from dbmpi.comm.wait import Waiter
from dbmpi.errors import JobEnded, PeerDied, PeerSilent

if TYPE_CHECKING:
    from dbmpi.layout.topology import Topology

# What Testall raises says only that one of its requests has failed.
ERRORS = {"ERR_PROC_FAILED", "ERR_PROC_FAILED_PENDING", "ERR_REVOKED", "ERR_IN_STATUS"}
POLL_S = 5e-3
LAST_S = 3.0  # longest wait for the others to leave a job that ends by a failure
NEWS_S = 1.0  # for the news that those are dead which were killed, as they did not
SETTLE_S = 0.2  # for what else is on its way about a failure
GIVE_WAY_S = 1.0  # for a rank that met the failure first to say so


def failed(comm: MPI.Comm) -> list[int]:
    """Return the ranks of `comm` that this process knows to be dead, and acknowledge their death. Local."""
    try:
        comm.Ack_failed()
        group = comm.Get_failed()
    except NotImplementedError:
        return []
    ranks = group.Translate_ranks(None, comm.Get_group())
    return sorted(int(rank) for rank in ranks)


def revoked(comm: MPI.Comm) -> bool:
    """Return whether a rank has revoked `comm`, as far as is known here. Local."""
    try:
        return bool(comm.Is_revoked())
    except NotImplementedError:
        return False


def tells_of_death(error: MPI.Exception, comm: MPI.Comm) -> bool:
    """Return whether an error of MPI comes from a dead rank of `comm`, or from its being revoked. Local."""
    classes = {getattr(MPI, name, None) for name in ERRORS}
    return error.Get_error_class() in classes and (bool(failed(comm)) or revoked(comm))


def raise_unless_death(comm: MPI.Comm, error: MPI.Exception) -> None:
    """Raise an error of MPI again, unless it tells of a death on `comm`, or of its being revoked. Local."""
    if not tells_of_death(error, comm):
        raise error


class FailureDetector:
    """What one rank knows of the deaths on the service communicator.

    Parameters
    ----------
    comm
        The service communicator.
    needed
        Ranks without which the run cannot go on, and how messages call them.

    Attributes
    ----------
    dead
        The ranks that are dead, in the order in which that was learned.
    silent
        Those that are killed, or count as dead, as they were silent.
    """

    def __init__(self, comm: MPI.Comm, needed: Mapping[int, str]) -> None:
        self._comm, self._needed = comm, needed
        self.dead: list[int] = []
        self.silent: set[int] = set()

    def learn(self, error: MPI.Exception) -> list[int]:
        """Take in an error that tells of deaths; return the ranks that were not known to be dead. Local.

        Raises
        ------
        PeerDied
            The run cannot go on without one of them.
        JobEnded
            Another rank has ended the job.
        MPI.Exception
            The error itself, where it tells of nothing new that is dead, and of nothing revoked.
        """
        now = failed(self._comm)
        if revoked(self._comm):
            raise JobEnded from error
        raise_unless_death(self._comm, error)
        fresh = [rank for rank in now if rank not in self.dead]
        self.dead += fresh
        names = [self.called(rank, self._needed[rank]) for rank in fresh if rank in self._needed]
        if names:
            raise PeerDied.named(names) from None
        return fresh

    def declare(self, rank: int) -> None:
        """Count a rank as dead that is silent and cannot be ended. Raises PeerDied as `learn`. Local."""
        self.dead.append(rank)
        if rank in self._needed:
            raise PeerDied(f"{self._needed[rank]} is silent, and the run cannot go on without it")

    def called(self, rank: int, name: str) -> str:
        """Return how messages call a rank that is dead. Local."""
        return f"{name}, which was silent," if rank in self.silent else name


@contextmanager
def readable(comm: MPI.Comm, topology: "Topology | None" = None) -> Iterator[None]:
    """Say who has died instead of what MPI says of it.

    Raises
    ------
    PeerDied, JobEnded
        For an error of MPI that tells of a death, or that another rank ends the job.
    """
    try:
        yield
    except MPI.Exception as error:
        _progress(SETTLE_S)
        if not tells_of_death(error, comm):
            raise
        if revoked(comm):
            raise JobEnded from error
        dead = failed(comm)
        if topology is None:
            raise PeerDied.named([f"rank {rank}" for rank in dead]) from None
        roles = topology.roles
        if topology.coordinator in dead and roles[comm.Get_rank()].kind != "shard":
            raise JobEnded from error  # the shards write its checkpoint, and say so
        needed = [rank for rank in dead if roles[rank].kind != "replica"] or dead
        raise PeerDied.named([f"rank {rank} ({roles[rank]})" for rank in needed]) from None


def _progress(seconds: float, enough: Callable[[], bool] = lambda: False) -> bool:
    """Let what MPI has to say travel; return whether `enough` held before the time was over. Local."""
    deadline = Deadline(seconds)
    while not enough():
        if deadline.passed():
            return False
        MPI.COMM_SELF.Iprobe(0, 0)
        time.sleep(POLL_S)
    return True


def lost(error: MPI.Exception, replica: "MPI.Comm | None") -> bool:
    """Return whether an error tells that a replica has lost a rank; all its ranks are told then. Local."""
    if replica is None or not tells_of_death(error, replica):
        return False
    revoke(replica)
    return True


def revoke(comm: "MPI.Comm | None") -> None:
    """Wake all who wait for anything on `comm`: their calls, and all later ones, raise. Local."""
    if comm is not None and not revoked(comm):
        comm.Revoke()


def enabled() -> bool:
    """Return whether ranks may die without an end of the job."""
    return os.environ.get(DEATHS) == "1"


def part(
    comm: MPI.Comm, coordinator: int, waiter: Waiter, status: int, end: Callable[[int], bool]
) -> NoReturn:
    """Leave a run that has ended, when the coordinator says that all is written. Collective over `comm`.

    Without MPI_Finalize, in which all may wait for ever once a rank has died (seen with Open MPI 5.0.11,
    once in fifteen deaths). The coordinator goes last: an exit may look like a death to those who are left.
    All is written by now: for one that is silent it does not wait for long, and `end(rank)` sees to it. For
    one that cannot be ended from here, the launcher would wait for ever: it is told to end the job.
    """
    from dbmpi.comm.protocol import Tag  # numpy, which is not loaded before the number of threads is chosen

    nothing = bytearray()
    if comm.Get_rank() == coordinator:
        others = [rank for rank in range(comm.Get_size()) if rank != coordinator]
        ended = [end(rank) for rank in _dismiss(comm, others, waiter, Tag.FAREWELL)]
        if not all(ended):
            end_launcher()
    else:
        word = comm.Irecv(nothing, coordinator, Tag.FAREWELL)
        waiter.until(word.Test, partial(str, f"rank {coordinator} (coordinator: the end of the run)"))
        waiter.until(comm.Isend(nothing, coordinator, Tag.FAREWELL).Test, partial(str, "the coordinator"))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _dismiss(comm: MPI.Comm, ranks: Sequence[int], waiter: Waiter, tag: int) -> list[int]:
    """Tell ranks to leave; return those that have not answered within one deadline for all. Local."""
    late: dict[int, list[MPI.Request]] = {}
    for rank in ranks:
        with suppress(MPI.Exception):  # it is gone: nothing to wait for
            late[rank] = [start(bytearray(), rank, tag) for start in (comm.Isend, comm.Irecv)]

    def all_gone() -> bool:
        for rank in [rank for rank, requests in late.items() if _ended(requests)]:
            del late[rank]
        return not late

    with suppress(PeerSilent):
        waiter.until(all_gone, partial(str, "the other ranks"), patience=1.0)
    return list(late)


def _ended(requests: list[MPI.Request]) -> bool:
    """Return whether all have ended, or their peer has died. Local."""
    try:
        return bool(MPI.Request.Testall(requests))
    except MPI.Exception:
        return True


def end_job(comms: Sequence[MPI.Comm], status: int, end: Callable[[int], object]) -> None:
    """End the job as `Abort` cannot where ranks may die: there it ends one process, and mpirun waits on.

    All that others do on `comms` raises from now on, so that they leave. `end(rank)` sees to those that do
    not, as one that is stopped; what cannot be reached so is left to the launcher, whose status is its own.
    """
    for comm in comms:
        revoke(comm)
    world, me = comms[0], comms[0].Get_rank()

    def left() -> set[int]:
        return set(range(world.Get_size())) - {me, *failed(world)}

    if not _progress(LAST_S, lambda: not left()):
        for rank in left():
            end(rank)
        if not _progress(NEWS_S, lambda: not left()):
            end_launcher()
    os._exit(status)


def end_launcher() -> None:
    """Have the launcher end the job, if it is among the processes that this one descends from. Local."""
    above = launcher()
    if above is not None:
        os.kill(above, signal.SIGTERM)


def die_silently(after_s: float = 0.0) -> None:
    """End this process as if it had died: an exit is not told to the others, and its status is not wanted."""
    time.sleep(after_s)
    os.kill(os.getpid(), signal.SIGKILL)
