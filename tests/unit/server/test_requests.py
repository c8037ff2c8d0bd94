"""What a shard does with requests whose sender has died, or whose memory it cannot map; without MPI."""

from types import SimpleNamespace
from typing import Any

import numpy as np

from dbmpi.comm.protocol import REPLY_HEADER, REQUEST_HEADER, Op, Status, Tag, piece_tag
from dbmpi.comm.segments import Segment
from dbmpi.comm.wait import Waiter
from dbmpi.config.algorithms import Downpour
from dbmpi.layout.sharding import Piece
from dbmpi.layout.topology import assign_roles
from dbmpi.server import rules
from dbmpi.server.averaging import averaged
from dbmpi.server.requests import RequestHandler
from dbmpi.server.shard import Shard
from tests.doubles.fake_mpi import Comm

F4 = np.dtype("f4")
CLIENT, SIZE, START = 5, 3, 2
PIECES = {Piece(0, 0, 0, START, START + SIZE): np.ones(SIZE, F4)}


class Case:
    """A shard of one piece, and a client's vectors of ten elements."""

    def __init__(self) -> None:
        self.comm: Any = Comm()
        self.detector: Any = SimpleNamespace(dead=[], learn=None)
        limits = Downpour(rule="sgd")
        values = {piece: value.copy() for piece, value in PIECES.items()}
        self.shard = Shard(0, values, rules.make(limits), limits)
        self.handler = RequestHandler(self.shard, SIZE, self.comm, Waiter(1.0), self.detector)
        self.gradient, self.parameters = Segment(40), Segment(40)

    def serve(self, **fields: Any) -> Any:
        """Serve a request, and return the reply."""
        return self.ask(CLIENT, **fields)

    def ask(self, client: int, **fields: Any) -> Any:
        """Serve a request of any client, and return the reply."""
        header = np.zeros((), REQUEST_HEADER)
        header["op"], header["start"], header["rate"], header["square"] = Op.PUSH | Op.FETCH, START, 1.0, 12.0
        header["gradient"], header["parameters"] = self.gradient.area, self.parameters.area
        for name, value in fields.items():
            header[name] = value
        self.handler.serve(header, client)
        return self.comm.take(client, piece_tag(Tag.REPLY, 0), REPLY_HEADER)[0]


def test_a_push_and_fetch_in_the_client_s_memory_needs_no_message():
    case = Case()
    case.gradient.view(F4)[:] = 2
    assert case.serve().tolist() == (0, Status.OK, 1, 0)
    assert case.parameters.view(F4).tolist() == [0] * START + [-1] * SIZE + [0] * 5
    assert not case.comm.waiting(CLIENT, piece_tag(Tag.PARAMETERS, 0))
    assert (case.handler.bytes_in, case.handler.bytes_out) == (4 * SIZE, 4 * SIZE)


def test_a_refused_push_changes_nothing_and_brings_the_parameters():
    case = Case()
    assert case.serve(square=np.inf).tolist() == (0, Status.NOT_FINITE, 0, 0)
    assert case.parameters.view(F4).tolist() == [0] * START + [1] * SIZE + [0] * 5


def test_an_average_is_fetched_in_place_of_the_parameters():
    case = Case()
    case.shard.rule = averaged(case.shard.rule, 0.5)
    case.shard.held[0].states.append(np.full(SIZE, 7, F4))
    assert case.serve(op=Op.FETCH | Op.AVERAGE).tolist() == (0, Status.OK, 0, 0)
    assert case.parameters.view(F4).tolist() == [0] * START + [7] * SIZE + [0] * 5
    case.serve(op=Op.FETCH)
    assert case.parameters.view(F4).tolist() == [0] * START + [1] * SIZE + [0] * 5


def test_of_a_request_with_memory_that_cannot_be_mapped_nothing_is_done():
    case = Case()
    case.gradient.area["token"] += 1
    assert case.serve()["status"] == Status.UNMAPPED
    assert case.shard.held[0].version == 0 and (case.handler.bytes_in, case.handler.bytes_out) == (0, 0)
    assert not case.parameters.view(F4).any()


def test_nothing_is_kept_for_the_replica_of_a_client_that_has_died():
    case, limits = Case(), Downpour(rule="adarevision")
    values = {piece: value.copy() for piece, value in PIECES.items()}
    shard = Shard(0, values, rules.make(limits), limits)
    topology = assign_roles(7, shards=1, replicas=2, partitions=2)  # and a spare
    given = shard, SIZE, case.comm, Waiter(1.0), case.detector, topology.companions
    case.handler = RequestHandler(*given)
    learn, versions = Op.FETCH | Op.LEARN, shard.held[0].versions
    for rank in (3, 5):
        case.ask(rank, op=learn)
    case.ask(5, op=Op.PUSH | learn)
    assert versions.copies == 1
    case.detector.dead.append(2)
    case.handler.forget_dead()
    assert versions.copies == 0
    case.ask(3, op=learn)  # it was on its way
    case.ask(5, op=Op.PUSH | learn, version=1)
    assert versions.copies == 0 and list(versions._held) == [5]
    assert [topology.companions(rank) for rank in (1, 4, 6)] == [(1,), (4, 5), (6,)]


def test_the_memory_of_a_client_that_has_died_is_let_go():
    case = Case()
    case.serve()
    case.handler.forget_dead()
    assert len(case.handler._areas._mapped) == 2
    case.detector.dead.append(CLIENT)
    case.handler.forget_dead()
    assert not case.handler._areas._mapped
