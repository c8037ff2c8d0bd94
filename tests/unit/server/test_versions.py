"""Which versions a shard keeps for whom, and that it lets go of them."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dbmpi.comm.protocol import Op
from dbmpi.config.algorithms import Downpour, Schedule
from dbmpi.layout.sharding import Piece
from dbmpi.replica.downpour import DownpourClient
from dbmpi.run.roles.serial import LocalClient
from dbmpi.server.rules import make
from dbmpi.server.shard import Shard
from dbmpi.server.versions import Versions
from tests.unit.replica.test_downpour import SIZE, Model, learner

VALUE = np.arange(3.0)
FETCH, BOTH, MEANWHILE = Op.FETCH | Op.LEARN, Op.PUSH | Op.FETCH | Op.LEARN, Op.HOLD


def kept(versions: Versions) -> list[int]:
    return sorted(versions._kept)


def test_a_version_is_copied_once_when_an_update_replaces_it():
    versions = Versions()
    versions.keep(0, VALUE, 0.0, None)
    assert not kept(versions)  # nobody holds it
    versions.hold(1, 1)
    versions.hold(2, 1)
    versions.keep(1, VALUE, 0.5, 2.0)
    found = versions.take(1, BOTH, 1, accrued=True)
    assert found is versions.take(2, BOTH, 1, accrued=True)
    assert found.value.tolist() == [0, 1, 2] and (found.rates, found.bound) == (0.5, 2.0)
    assert not np.shares_memory(found.value, VALUE)
    versions.forget(9)
    assert not kept(versions)


def test_what_is_found_stays_until_the_next_request():
    versions = Versions()
    versions.hold(1, 0)
    versions.hold(2, 1)
    versions.keep(0, VALUE, 0.0, None)
    found = versions.take(1, BOTH, 0, accrued=True)
    versions.keep(1, VALUE + 1, 0.0, None)
    assert found.value.tolist() == [0, 1, 2]
    assert versions.take(2, BOTH, 1, accrued=True).value.tolist() == [1, 2, 3]


def test_a_client_gets_only_what_it_holds_itself():
    versions = Versions()
    versions.hold(1, 0)
    versions.keep(0, VALUE, 0.0, None)
    assert versions.take(2, BOTH, 0, accrued=True) is None


def test_with_overlap_the_version_fetched_last_is_held_on():
    versions = Versions()
    for version in (0, 1):
        versions.hold(1, version)
        versions.keep(version, VALUE, 0.0, None)
    versions.take(1, FETCH | MEANWHILE, 0, accrued=True)  # 0 is accrued, 1 computed with
    versions.hold(1, 2)
    versions.keep(2, VALUE, 0.0, None)
    assert kept(versions) == [0, 1, 2]
    versions.take(1, Op.PUSH | MEANWHILE, 0, accrued=True)
    versions.forget(9)
    assert kept(versions) == [2]
    versions.take(1, Op.PUSH, 2, accrued=True)  # of a flush
    versions.forget(9)
    assert not kept(versions)


class Delayed(LocalClient):
    """A client of a shard that others use too; an exchange ends when the test says so."""

    def __init__(self, shard: Shard, index: int) -> None:
        piece = Piece(0, 0, 0, 0, SIZE)
        super().__init__(shard, [piece], shard.held[0].value, shared=False)
        self._shard, self.index, self._asked = self, index, None
        self.real = shard

    busy = property(lambda self: self._asked is not None or self._ended is not None)
    held = property(lambda self: self.real.held)

    def since(self, piece, client, *fields):
        return self.real.since(piece, self.index, *fields)

    def fetch(self, piece, client):
        return self.real.fetch(piece, self.index if client is not None else None)

    def push(self, *args, **keys):
        return self.real.push(*args, **keys)

    def begin(self, request):
        self._asked = request

    def end(self):
        if self._asked is not None:
            super().begin(self._asked)
            self._asked = None

    def wait(self):
        self.end()
        return super().wait()


def client(shard: Shard, index: int, config: Downpour) -> DownpourClient:
    gradients = np.random.default_rng(index).normal(size=500).tolist()
    made = learner(config, Model(gradients), Delayed(shard, index))
    made.begin()
    return made


@settings(max_examples=40, deadline=None)
@given(
    overlap=st.booleans(),
    n_push=st.integers(1, 3),
    n_fetch=st.integers(1, 3),
    max_staleness=st.sampled_from([0, 4]),
    order=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), max_size=120),
)
def test_every_version_is_known_and_few_are_kept_whatever_clients_do(
    overlap, n_push, n_fetch, max_staleness, order
):
    config = Downpour(
        rule="adarevision",
        learning_rate=0.02,
        overlap=overlap,
        n_push=n_push,
        n_fetch=n_fetch,
        max_staleness=max_staleness,
        schedule=Schedule(warmup_epochs=0),
    )
    shard = Shard(0, {Piece(0, 0, 0, 0, SIZE): np.zeros(SIZE)}, make(config), config)
    clients = [client(shard, index, config) for index in range(4)]
    for index, what in order:
        made = clients[index]
        if what == 0:
            made.flush(0)
            made.fetch()  # to evaluate
            made.begin()
        elif what < 4:
            made.client.end()
        else:
            made.step(1, np.zeros(1), 0)
        assert shard.held[0].versions.copies <= 4 * (1 + overlap + (n_push > 1))
    report = shard.report()
    assert report["unknown"] == 0
    for made in clients:
        made.flush(0)
        made.fetch()
    shard.forget(9)
    assert shard.held[0].versions.copies == 0 and not shard.held[0].versions._held
