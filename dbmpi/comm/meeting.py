"""What all ranks do together before the roles split: with a deadline, and the name of who is missing.

Objects travel by point-to-point messages by way of rank 0, which looks for each rank and so knows who has not
come. Whoever waits for rank 0 waits longer, and hears from it while it decides, or waits for others. A rank
that never arrives ends the job with one line.

Communicators are made by blocking calls: a thread looks at the clock meanwhile.
"""

import math
import pickle
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from dbmpi.awake import Deadline, awake
from dbmpi.comm.background import Background
from dbmpi.comm.wait import Waiter
from dbmpi.errors import PeerSilent
from dbmpi.phases import phase

if TYPE_CHECKING:
    from mpi4py import MPI

T = TypeVar("T")
TO_FIRST, FROM_FIRST = 32_001, 32_002  # tags; beyond those of `protocol`
ALIVE = b""  # from rank 0, in place of a pickle
PATIENCE = 1.5  # of the deadline: for rank 0, which may wait for another one, and says more about it
TURN_S = 1.0  # between the ranks that could say that rank 0 is missing: the first ends the job
LOOK_S = 0.1  # between two looks at the clock
TIMEOUT_S = 300.0  # before the configuration is read
LOADING_S = 60.0  # at least, while ranks load libraries, many at once on few cores, and give no sign


def while_loading(timeout_s: float) -> float:
    """Return how long a rank may take that loads libraries, however short the deadline is."""
    return max(timeout_s, LOADING_S)


def gathered(comm: "MPI.Intracomm", value: T, what: str, timeout_s: float = TIMEOUT_S) -> list[T] | None:
    """Return what every rank gives, on rank 0; None elsewhere. Collective over `comm`.

    Parameters
    ----------
    what
        What the ranks come to, for the message.
    timeout_s
        How long rank 0 waits for the next one that is missing. Those that have come get signs of life, for
        when they wait for rank 0.

    Raises
    ------
    PeerSilent
        On rank 0: a rank has not come.
    """
    waiter = Waiter(timeout_s)
    if comm.Get_rank():
        sent = comm.Isend(pickle.dumps(value), 0, TO_FIRST)
        waiter.until(sent.Test, partial(str, f"rank 0 ({what})"), _patience(comm, timeout_s))
        return None
    values: dict[int, T] = {0: value}
    missing = list(range(1, comm.Get_size()))

    def one_has_come() -> bool:
        for rank in missing:
            content = _arrived(comm, rank, TO_FIRST)
            if content is not None:
                values[rank] = pickle.loads(content)
                missing.remove(rank)
                return True
        return False

    with waiter.attending(_signs(comm, values)):
        while missing:
            phase(f"waiting for {len(missing)} of {comm.Get_size()} ranks ({what})")
            waiter.until(one_has_come, lambda: f"{_named(missing)} ({what})", patience=1.0)
    return [values[rank] for rank in range(comm.Get_size())]


def shared(comm: "MPI.Intracomm", make: Callable[[], T], what: str, timeout_s: float = TIMEOUT_S) -> T:
    """Return what rank 0 makes, on every rank. Collective over `comm`.

    It is made in a thread of rank 0, which gives signs of life, however long it takes.

    Raises
    ------
    PeerSilent
        Elsewhere: rank 0 gives no sign of life.
    """
    if comm.Get_rank():
        return _from_first(comm, what, timeout_s)
    phase(what)
    if comm.Get_size() == 1:
        return make()
    others, waiter = range(1, comm.Get_size()), Waiter(timeout_s)
    with waiter.attending(_signs(comm, others)):
        value = Background(lambda call: make()).result(lambda: waiter.give_sign(awake()))
    content = pickle.dumps(value)
    sends = {rank: comm.Isend(content, rank, FROM_FIRST) for rank in others}
    waiter.until(partial(_all_left, sends), lambda: f"{_named(sends)} ({what})")
    return value


def exchanged(comm: "MPI.Intracomm", value: T, what: str, timeout_s: float = TIMEOUT_S) -> list[T]:
    """Return what every rank gives, on every rank. Collective over `comm`. Raises as `gathered`, `shared`."""
    values = gathered(comm, value, what, timeout_s)
    return shared(comm, lambda: values or [], what, timeout_s)


def meet(comm: "MPI.Intracomm", what: str, timeout_s: float) -> None:
    """Return when every rank has come. Collective over `comm`. Raises as `gathered`, `shared`."""
    exchanged(comm, None, what, timeout_s)


def _signs(comm: "MPI.Intracomm", ranks: Collection[int]) -> Callable[[], None]:
    """Return what gives those of some ranks, all that there are then, that are not rank 0 a sign of life."""
    sends: dict[int, MPI.Request] = {}

    def give() -> None:
        _all_left(sends)  # to one that has not even taken the last one, no other
        for rank in ranks:
            if rank and rank not in sends:
                sends[rank] = comm.Isend(ALIVE, rank, FROM_FIRST)

    return give


def _all_left(sends: "dict[int, MPI.Request]") -> bool:
    """Drop the messages to ranks that have left; return whether all have. Local."""
    for rank in [rank for rank, request in sends.items() if request.Test()]:
        del sends[rank]
    return not sends


def _named(ranks: Iterable[int]) -> str:
    return ", ".join(f"rank {rank}" for rank in ranks)


def _from_first(comm: "MPI.Intracomm", what: str, timeout_s: float) -> Any:
    """Return the next object from rank 0."""
    found: list[bytes] = []

    def arrived() -> bool:
        content = _arrived(comm, 0, FROM_FIRST)
        found.extend([] if content is None else [content])
        return bool(found)

    while True:
        Waiter(timeout_s).until(arrived, partial(str, f"rank 0 ({what})"), _patience(comm, timeout_s))
        content = found.pop()
        if content != ALIVE:
            return pickle.loads(content)


def _patience(comm: "MPI.Intracomm", timeout_s: float) -> float:
    return PATIENCE + TURN_S * comm.Get_rank() / timeout_s


def _arrived(comm: "MPI.Intracomm", source: int, tag: int) -> bytes | None:
    """Return the next message of a rank, if it is there. Local."""
    from mpi4py import MPI

    status = MPI.Status()
    message = comm.Improbe(source, tag, status)
    if message is None:
        return None
    content = bytearray(status.Get_count())
    message.Recv(content)
    return bytes(content)


@contextmanager
def bounded(comm: "MPI.Intracomm", what: str, timeout_s: float) -> Iterator[None]:
    """End the job if what is done here, in calls that block, takes longer than the deadline. Local.

    A thread raises, which ends the job (`comm.abort`).
    """

    def expire() -> None:
        deadline = Deadline(timeout_s + TURN_S * comm.Get_rank())
        while not over.wait(LOOK_S):
            if deadline.passed():
                raise PeerSilent.named(f"another rank ({what})", timeout_s)

    over = threading.Event()
    if comm.Get_size() > 1 and math.isfinite(timeout_s):
        threading.Thread(target=expire, daemon=True).start()
    try:
        yield
    finally:
        over.set()
