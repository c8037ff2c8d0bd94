"""A partition whose shard dies: it asks the successor once more, with the same gradient, and nobody else."""

from typing import Any

import numpy as np
import pytest
from mpi4py import MPI

from dbmpi.comm.protocol import REPLY_HEADER, REQUEST_HEADER, Op, Status, Tag, piece_tag
from dbmpi.comm.wait import Waiter
from dbmpi.layout.sharding import Piece
from dbmpi.replica.client import Request, Share
from dbmpi.replica.mpi_client import MpiClient
from dbmpi.replica.rooms import Rooms
from tests.doubles.fake_mpi import Comm, tell

PIECES = [Piece(0, 0, 0, 0, 3), Piece(1, 0, 1, 3, 5), Piece(2, 0, 2, 5, 9)]
RANKS = [1, 2, 3]
BOTH = Op.FETCH | Op.PUSH


class Case:
    """A client of three shards, which the test plays; the order to reroute comes when it is looked for."""

    def __init__(self, monkeypatch: Any, patient: bool = True) -> None:
        self.comm, self.orders = Comm(), list[tuple[int, int]]()
        tell(monkeypatch, self.comm)
        self.into = np.zeros(9)
        look = self.look if patient else None
        comm: Any = self.comm
        self.client = MpiClient(comm, PIECES, RANKS, self.into, "float64", Waiter(0.2), look)
        self.gradients: dict[int, list[tuple[int, float]]] = {1: [], 2: [], 3: []}  # piece, first value

    def look(self) -> None:
        for order in self.orders:
            self.client.reroute(*order)
        self.orders.clear()
        for rank in set(RANKS) - self.comm.dead:
            while self.comm.waiting(rank, Tag.REQUEST):
                self.serve(rank)

    def begin(self, op: Op = BOTH) -> None:
        self.client.begin(Request(op, np.arange(9.0), np.zeros(3, np.int64), 0.1, 1))

    def serve(self, rank: int, reply: bool = True, values: bool = True) -> None:
        """Let a shard serve one request."""
        header = self.comm.take(rank, Tag.REQUEST, REQUEST_HEADER)[0]
        piece, op = int(header["piece"]), Op(int(header["op"]))
        if op & Op.PUSH:
            gradient = self.comm.take(rank, piece_tag(Tag.GRADIENT, piece), "f8")
            self.gradients[rank].append((piece, float(gradient[0])))
        answer = np.zeros(1, REPLY_HEADER)
        answer["piece"], answer["version"] = piece, 10 * rank
        if reply:
            self.comm.give(rank, piece_tag(Tag.REPLY, piece), answer)
        if reply and values and op & Op.FETCH:
            size = PIECES[piece].size
            self.comm.give(rank, piece_tag(Tag.PARAMETERS, piece), np.full(size, 10.0 * rank + piece))

    def assert_ended_well(self, dead_served: bool) -> None:
        """Everybody living was asked once, and the successor for the dead one's piece too."""
        outcome = self.client.wait()
        assert outcome.versions is not None and outcome.versions.tolist() == [20, 20, 30]
        assert self.into.tolist() == [20.0] * 3 + [21.0] * 2 + [32.0] * 4
        assert self.gradients[3] == [(2, 5.0)]
        assert sorted(self.gradients[2]) == ([(1, 3.0)] if dead_served else [(0, 0.0), (1, 3.0)])
        assert not self.client.busy


@pytest.mark.parametrize("noticed", [True, False], ids=["noticed", "told"])
@pytest.mark.parametrize("served", range(4))
def test_what_the_dead_shard_has_not_answered_is_asked_again(monkeypatch, noticed, served):
    """The living serve before the death, after it, or in between."""
    case = Case(monkeypatch)
    case.begin()
    if served & 1:
        case.serve(2)
    if served & 2:
        case.serve(3)
    case.comm.dead.add(1)
    if noticed:
        for _ in range(3):
            assert case.client.poll() is None
            case.client.progress()
    assert case.client.busy
    case.orders.append((0, 1))
    if not noticed:
        case.look()
    case.assert_ended_well(dead_served=False)


def test_a_push_that_the_dead_shard_acknowledged_is_not_repeated(monkeypatch):
    case = Case(monkeypatch)
    case.begin()
    case.serve(1, values=False)
    case.comm.dead.add(1)
    case.orders.append((0, 1))
    case.look()
    case.assert_ended_well(dead_served=True)
    assert case.gradients[1] == [(0, 0.0)]


def test_in_a_round_an_acknowledged_push_is_repeated_as_its_step_may_have_died(monkeypatch):
    case = Case(monkeypatch)
    case.client.begin(Request(BOTH, np.arange(9.0), np.zeros(3, np.int64), 0.1, 1, Share(7, 1.0)))
    case.serve(1, values=False)
    case.comm.dead.add(1)
    case.orders.append((0, 1))
    case.client.wait()
    assert (0, 0.0) in case.gradients[1] and (0, 0.0) in case.gradients[2]


def test_what_closes_a_step_is_asked_of_the_heir(monkeypatch):
    case = Case(monkeypatch)
    case.begin(Op.CLOSE)
    case.comm.dead.add(1)
    case.orders.append((0, 1))
    assert case.client.wait().versions is None and not case.client.busy


def test_an_exchange_that_the_dead_shard_ended_is_not_repeated(monkeypatch):
    case = Case(monkeypatch)
    case.begin()
    for rank in RANKS:
        case.serve(rank)
    case.comm.dead.add(1)
    case.client.reroute(0, 1)
    outcome = case.client.poll()
    assert outcome is not None and outcome.versions.tolist() == [10, 20, 30]
    assert not case.comm.waiting(2, Tag.REQUEST)


def test_a_push_alone_that_was_acknowledged_asks_nothing_more(monkeypatch):
    case = Case(monkeypatch)
    case.begin(Op.PUSH)
    case.serve(1)
    case.comm.dead.add(1)
    assert case.client.poll() is None  # noticed or not, the others have not answered
    case.client.reroute(0, 1)
    case.serve(2)
    case.serve(3)
    assert case.client.poll() is not None
    assert case.gradients == {1: [(0, 0.0)], 2: [(1, 3.0)], 3: [(2, 5.0)]}


def test_one_that_begins_after_the_death_waits_for_the_heir(monkeypatch):
    case = Case(monkeypatch)
    case.comm.dead.add(1)
    case.begin()
    assert case.client.poll() is None
    case.orders.append((0, 1))
    case.assert_ended_well(dead_served=False)


def test_nothing_in_flight_changes_the_map_alone(monkeypatch):
    case = Case(monkeypatch)
    case.comm.dead.add(1)
    case.client.reroute(0, 1)
    assert not case.client.busy and not case.comm.sent
    case.begin()
    case.look()
    case.assert_ended_well(dead_served=False)


def test_the_heir_of_the_heir(monkeypatch):
    case = Case(monkeypatch)
    case.begin()
    case.comm.dead |= {1, 2}
    assert case.client.poll() is None
    case.orders += [(0, 1), (1, 2)]
    outcome = case.client.wait()
    assert outcome.versions is not None and outcome.versions.tolist() == [30, 30, 30]
    assert sorted(case.gradients[3]) == [(0, 0.0), (1, 3.0), (2, 5.0)]


def test_without_mirrors_a_death_is_an_error_at_once(monkeypatch):
    case = Case(monkeypatch, patient=False)
    case.begin()
    case.comm.dead.add(1)
    with pytest.raises(MPI.Exception):
        case.client.poll()


def test_other_errors_are_not_waited_for(monkeypatch):
    case = Case(monkeypatch)
    case.begin()
    monkeypatch.setattr("tests.doubles.fake_mpi.Request.Test", lambda *args: (_ for _ in ()).throw(OSError))
    with pytest.raises(OSError):
        case.client.poll()


def test_a_near_shard_gets_no_message_but_the_request_and_one_that_cannot_map_is_asked_again():
    comm: Any = Comm()
    rooms = Rooms(shared=True)
    into = rooms.take(9, np.dtype("f8"))
    client = MpiClient(comm, PIECES, RANKS, into, "float64", Waiter(0.2), None, rooms, near=[1, 2])
    gradient = client.room()
    gradient[:] = np.arange(9.0)
    client.begin(Request(BOTH, gradient, np.zeros(3, np.int64), 0.1, 1))
    assert [comm.waiting(rank, piece_tag(Tag.GRADIENT, rank - 1)) for rank in RANKS] == [0, 0, 1]
    for rank in RANKS:
        header = comm.take(rank, Tag.REQUEST, REQUEST_HEADER)[0]
        assert header["square"] == sum(x * x for x in range(PIECES[rank - 1].start, PIECES[rank - 1].stop))
        assert bool(header["gradient"]["pid"]) == (rank < 3) and header["start"] == PIECES[rank - 1].start
        status = Status.UNMAPPED if rank == 2 else Status.OK
        comm.give(rank, piece_tag(Tag.REPLY, rank - 1), np.array([(rank - 1, status, 4, 0)], REPLY_HEADER))
    comm.take(3, piece_tag(Tag.GRADIENT, 2), "f8")
    comm.give(3, piece_tag(Tag.PARAMETERS, 2), np.full(4, 3.0))
    assert client.poll() is None
    header = comm.take(2, Tag.REQUEST, REQUEST_HEADER)[0]
    assert not header["gradient"]["pid"] and not header["parameters"]["pid"]
    assert comm.take(2, piece_tag(Tag.GRADIENT, 1), "f8").tolist() == [3.0, 4.0]
    comm.give(2, piece_tag(Tag.REPLY, 1), np.array([(1, Status.OK, 5, 0)], REPLY_HEADER))
    comm.give(2, piece_tag(Tag.PARAMETERS, 1), np.full(2, 2.0))
    outcome = client.poll()
    assert outcome is not None and outcome.versions is not None and outcome.versions.tolist() == [4, 5, 4]
    assert into.tolist() == [0.0] * 3 + [2.0] * 2 + [3.0] * 4 and not outcome.refused
    client.begin(Request(Op.PUSH, gradient, np.zeros(3, np.int64), 0.1, 1))
    assert [comm.waiting(rank, piece_tag(Tag.GRADIENT, rank - 1)) for rank in RANKS] == [0, 1, 1]
