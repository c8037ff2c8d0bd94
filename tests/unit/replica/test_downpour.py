"""The Downpour client on a parameter service whose exchanges end when the test says so."""

import gc
import weakref
from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dbmpi.comm.assignments import PlanNumbers, Portion, assignment_of
from dbmpi.comm.protocol import REPORT, Op
from dbmpi.config.algorithms import Downpour, Schedule
from dbmpi.config.layers import Dense
from dbmpi.layout.network import from_layers
from dbmpi.layout.partitioning import Partitioning
from dbmpi.layout.sharding import Piece
from dbmpi.model.losses import Score
from dbmpi.model.tensors import Tensors
from dbmpi.replica.client import ALONE, Outcome, Request
from dbmpi.replica.downpour import DownpourClient
from dbmpi.replica.learning_rate import LearningRate
from dbmpi.replica.sync import SyncClient
from dbmpi.run.roles.serial import LocalClient
from dbmpi.server.rules import make
from dbmpi.server.shard import Shard

PARTITIONING = Partitioning(from_layers([Dense(units=2)], 3, "squared"), 1)
SIZE = PARTITIONING.sizes[0]  # 8
BOTH = Op.FETCH | Op.PUSH
WHOLE = 10


class Model:
    """Stands for a model: the gradient of step k is 2^k everywhere (sums tell which steps are in them)."""

    partitioning, partition, parameters, dtype = PARTITIONING, 0, SIZE, np.dtype(np.float64)

    def __init__(self, gradients: list[float] | None = None) -> None:
        self.gradients = [2.0**k for k in range(50)] if gradients is None else gradients
        self.seen: list[np.ndarray] = []  # parameters that each gradient was computed from

    def differentiate(self, theta: Tensors, gradient: Tensors, width: int, targets: Any) -> Score:
        gradient.flat[:] = self.gradients[len(self.seen)]
        self.seen.append(theta.flat.copy())
        return Score(1.5, 1)


class Asked(NamedTuple):
    """One exchange as it began."""

    op: Op
    gradient: float
    version: int
    rate: float
    steps: int


class Minibatches:
    """Stands for a loader: three minibatches in every portion."""

    def __init__(self) -> None:
        self.prepared: list[Portion] = []

    def prepare(self, portion: Portion) -> None:
        self.prepared.append(portion)

    def train(self) -> Iterator[tuple[int, np.ndarray]]:
        self.prepared.pop(0)
        for _ in range(3):
            yield WHOLE, np.zeros(WHOLE)


def learner(settings: Downpour, model: Model, service: Any, kind: Any = DownpourClient) -> Any:
    rate = LearningRate(settings.learning_rate, settings.schedule, 100)
    return kind(settings, rate, model, Minibatches(), service, 1, WHOLE, lambda: None)


class ScriptedService:
    """Exchanges stay in flight until `end`, or until they are waited for."""

    def room(self) -> np.ndarray:
        return np.zeros(SIZE)

    shared = False

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.uses: list[Op] = []  # what is said of the parameters, of each
        self.incoming = np.zeros(SIZE)
        self.busy = False
        self.version = 0
        self.refuse = 0
        self._gradient: np.ndarray | None = None
        self._ended: Outcome | None = None

    def begin(self, request: Request) -> None:
        op, gradient, versions, rate, steps, share = request
        assert share == ALONE
        assert not self.busy, "two exchanges at once"
        assert np.all(gradient == gradient[0])
        self.busy, self._gradient = True, gradient
        self.asked.append(Asked(op & BOTH, gradient[0], int(versions[0]), rate, steps))
        self.uses.append(op & ~BOTH)

    def end(self) -> None:
        """Let the exchange in flight end; parameters are those of ever new versions, 100 times as large."""
        asked = self.asked[-1]
        if asked.op & Op.PUSH:
            assert self._gradient[0] == asked.gradient, "the gradient changed in flight"
        versions = None
        if asked.op & Op.FETCH:
            self.version += 1
            self.incoming[:] = 100.0 * self.version
            versions = np.array([self.version])
        self._ended = Outcome(versions, self.refuse)

    def pushed_square(self, gradient: np.ndarray) -> float:
        return float((gradient**2).sum())

    def poll(self) -> Outcome | None:
        ended, self._ended = self._ended, None
        self.busy = self.busy and ended is None
        return ended

    def wait(self) -> Outcome:
        if self._ended is None:
            self.end()
        return self.poll()

    def progress(self) -> None:
        """Nothing moves by itself."""

    def forget(self) -> None:
        self.forgotten = True

    def adopt(self, wait_as_spare: np.ndarray) -> None:
        assert wait_as_spare is not self.incoming
        self.incoming = wait_as_spare


def client(waits: bool = False, gradients: list[float] | None = None, **keys: Any) -> DownpourClient:
    """Make a client that has fetched its first parameters, version 1."""
    settings = Downpour(
        **(
            {"rule": "adagrad", "learning_rate": 0.5, "local_rate": 0.0, "overlap": not waits}
            | {"schedule": Schedule(warmup_epochs=0.0)}
            | keys
        )
    )
    made = learner(settings, Model(gradients), ScriptedService())
    made.fetch()
    made.client.asked.clear()
    return made


def step(made: DownpourClient, count: int = 1, examples: int = 0) -> None:
    for _ in range(count):
        assert made.step(WHOLE, np.zeros(WHOLE), examples) == Score(1.5, 1)


def ops(made: DownpourClient) -> list[Op]:
    return [asked.op for asked in made.client.asked]


def test_both_fire_at_step_0_in_one_round_trip():
    made = client(n_fetch=7, n_push=5)
    step(made)
    assert made.client.asked == [Asked(BOTH, 1.0, 1, 0.5, 1)]


@given(n_fetch=st.integers(1, 6), n_push=st.integers(1, 6), wait=st.booleans())
def test_fetch_and_push_come_at_their_own_intervals(n_fetch, n_push, wait):
    made = client(waits=wait, n_fetch=n_fetch, n_push=n_push)
    for k in range(20):
        before = len(made.client.asked)
        step(made)
        due = (Op.FETCH if k % n_fetch == 0 else Op(0)) | (Op.PUSH if k % n_push == 0 else Op(0))
        assert ops(made)[before:] == ([due] if due else [])
        if made.client.busy:
            made.client.end()


@settings(max_examples=60)
@given(n_push=st.integers(1, 4), n_fetch=st.integers(1, 4), ends=st.lists(st.booleans(), max_size=25))
def test_every_gradient_is_pushed_exactly_once_whatever_is_in_flight(n_push, n_fetch, ends):
    made = client(n_push=n_push, n_fetch=n_fetch)
    for end in ends:
        step(made)
        if end and made.client.busy and made.client._ended is None:
            made.client.end()
    made.flush(0)
    pushed = [asked for asked in made.client.asked if asked.op & Op.PUSH]
    # Sums of different powers of two: equal only if each step is in exactly one push.
    assert sum(asked.gradient for asked in pushed) == 2.0 ** len(ends) - 1
    assert sum(asked.steps for asked in pushed) == len(ends)


def test_what_falls_due_while_busy_begins_as_soon_as_it_can():
    made = client(n_fetch=100, n_push=2)
    step(made, 4)  # the first exchange, of step 0, is still in flight; a push fell due at step 2
    assert ops(made) == [BOTH]
    made.client.end()
    step(made)
    assert made.client.asked[1:] == [Asked(Op.PUSH, 2.0 + 4 + 8 + 16, 1, 0.5, 4)]


def test_of_a_short_minibatch_every_example_counts_as_much_as_of_a_whole_one():
    made = client(n_fetch=1, n_push=2, waits=True)
    for width in (WHOLE, WHOLE, 4):
        made.step(width, np.zeros(width), 0)
    assert [asked.gradient for asked in made.client.asked if asked.op & Op.PUSH] == [1.0, 2.0 + 0.4 * 4]


def test_in_a_round_a_short_minibatch_counts_by_its_examples():
    service, report, shares = ScriptedService(), np.zeros((), REPORT), []
    settings = Downpour(rule="sgd", learning_rate=0.5, overlap=False, schedule=Schedule(warmup_epochs=0.0))
    made = learner(settings, Model(), service, partial(SyncClient, leader=None))
    begin = service.begin
    service.begin = lambda request: (shares.append(request.share), begin(request._replace(share=ALONE)))
    made._take_part((WHOLE, np.zeros(WHOLE)), 0, report)
    made._take_part((4, np.zeros(4)), 0, report)
    made._take_part(None, 0, report)
    assert [share.weight for share in shares] == [1, 1, 0]
    assert [asked.gradient for asked in service.asked[:2]] == [1.0, 0.4 * 2]


def test_fetch_and_push_that_wait_go_together():
    made = client(n_fetch=3, n_push=2)
    step(made, 4)  # push due at 2, fetch at 3
    made.client.end()
    step(made)
    assert ops(made) == [BOTH, BOTH]


def test_a_due_fetch_alone_leaves_the_accrued_gradient():
    made = client(n_fetch=1, n_push=4)
    step(made)
    made.client.end()
    step(made)
    made.client.end()
    step(made)
    assert ops(made) == [BOTH, Op.FETCH, Op.FETCH]
    made.client.end()
    step(made)
    made.client.end()
    step(made)
    assert made.client.asked[-1].op == BOTH and made.client.asked[-1].gradient == 2.0 + 4 + 8 + 16


def test_parameters_arrive_in_the_background_and_replace_the_copy():
    made = client(n_fetch=1, n_push=1)
    step(made, 2)
    assert made.theta.flat[0] == 100.0
    made.client.end()
    assert made.theta.flat[0] == 100.0  # not before the next step looks
    step(made, 2)
    assert [seen[0] for seen in made.model.seen] == [100.0, 100.0, 100.0, 200.0]
    assert made.client.incoming is not made.theta.flat


def test_a_push_carries_the_version_of_its_oldest_gradient():
    made = client(n_fetch=1, n_push=3)
    for _ in range(4):
        step(made)
        made.client.end()
    # Steps 1, 2 and 3 are in the second push; parameters of version 2 arrived during step 1.
    pushes = [asked for asked in made.client.asked if asked.op & Op.PUSH]
    assert [(p.gradient, p.version) for p in pushes] == [(1.0, 1), (2.0 + 4 + 8, 1)]


@pytest.mark.parametrize("n_push", [1, 3, 100])
def test_local_steps_at_a_fixed_rate_between_fetches(n_push):
    made = client(n_fetch=100, n_push=n_push, local_rate=0.25)
    step(made)
    made.client.end()  # version 2, which step 1 will find, after computing its gradient on the old copy
    step(made, 4)
    values = [100.0, 99.75, 200 - 0.25 * 2, 200 - 0.25 * 6, 200 - 0.25 * 14]
    assert [seen[0] for seen in made.model.seen] == values


def test_local_steps_use_raw_gradients_and_leave_what_is_pushed_alone():
    made = client(n_fetch=100, n_push=4, local_rate=0.25)
    step(made)
    made.client.end()
    step(made, 4)
    assert [asked.gradient for asked in made.client.asked] == [1.0, 2.0 + 4 + 8 + 16]


def test_one_that_waits_computes_on_what_it_fetched_with_no_step_of_its_own():
    made = client(waits=True, n_fetch=2, n_push=1, local_rate=0.25)
    step(made, 5)
    assert [seen[0] for seen in made.model.seen] == [100.0, 200.0, 200.0 - 0.25 * 2, 300.0, 300.0 - 0.25 * 8]
    assert not made.client.busy


@pytest.mark.parametrize("limit", [1, 2, 5])
@pytest.mark.parametrize("n_push", [1, 3, 1000])
def test_max_staleness_makes_the_replica_fetch(limit, n_push):
    made = client(n_fetch=1000, n_push=n_push, max_staleness=limit)
    for _ in range(30):
        step(made)
        assert made.steps - made._read_at <= limit
    made.flush(0)
    assert sum(asked.gradient for asked in made.client.asked if asked.op & Op.PUSH) == 2.0**30 - 1


def test_max_staleness_waits_for_the_fetch_in_flight_before_it_asks_again():
    made = client(n_fetch=1, n_push=1, max_staleness=3)
    step(made, 3)
    assert ops(made) == [BOTH] and made.client.busy
    step(made)  # the copy of version 1 is 4 steps old: wait for the one asked for after step 0
    assert made.fetches == 2 and not made.client.busy
    assert [seen[0] for seen in made.model.seen] == [100.0] * 4
    step(made)
    assert made.model.seen[-1][0] == 200.0


def test_a_fetch_that_max_staleness_asks_for_takes_the_gradient_along():
    made = client(n_fetch=1000, n_push=1000, max_staleness=2)
    step(made, 4)  # step 2 waits for what step 0 asked for, step 3 asks anew
    # What was computed from older parameters is in no later push.
    assert made.client.asked[1:] == [Asked(BOTH, 2.0 + 4 + 8, 1, 0.5, 3)]


def test_the_age_of_a_copy_counts_from_when_it_was_asked_for():
    made = client(n_fetch=1, n_push=1, max_staleness=3)
    step(made, 2)
    made.client.end()
    step(made)  # finds what was asked for after step 0, and asks again
    step(made)  # the copy in use is now 3 steps old
    assert made.fetches == 2
    step(made)
    assert made.fetches == 3


def test_without_max_staleness_a_shard_that_never_answers_is_never_waited_for():
    made = client(n_fetch=1, n_push=1)
    step(made, 30)
    assert ops(made) == [BOTH] and made.client.busy


def test_a_refusal_makes_it_fetch():
    made = client(n_fetch=1000, n_push=2)
    step(made)
    made.client.end()
    step(made)
    assert len(made.client.asked) == 1
    made.client.refuse = 1
    step(made)
    assert ops(made)[1:] == [Op.PUSH]
    made.client.end()
    made.client.refuse = 0
    step(made)
    assert ops(made)[2:] == [Op.FETCH] and made.refused == 1


def test_flush_pushes_what_is_left_and_waits():
    made = client(n_fetch=1, n_push=4)
    step(made, 3)
    made.flush(0)
    assert made.client.asked[1:] == [Asked(Op.PUSH, 2.0 + 4, 1, 0.5, 2)]
    assert not made.client.busy
    made.flush(0)
    assert len(made.client.asked) == 2


def test_flush_with_nothing_learned_asks_nothing():
    made = client()
    made.flush(0)
    assert made.client.asked == []


def test_fetch_waits_for_what_is_in_flight():
    made = client(n_fetch=1, n_push=2)
    step(made, 2)
    made.fetch()
    assert ops(made) == [BOTH, Op.FETCH] and made.theta.flat[0] == 300.0
    made.flush(0)
    assert made.client.asked[-1].gradient == 2.0  # a fetch drops no gradient


@pytest.mark.parametrize("waits", [True, False])
def test_an_evaluation_of_the_average_leaves_what_is_learned_alone(waits):
    made = client(waits=waits, n_fetch=2, n_push=4)
    made._averages = made._learning = True
    step(made, 2)
    average = made.evaluated()  # the version after that of step 0
    assert average.flat[0] == 300.0 and made.theta.flat[0] == 200.0
    assert made.client.uses[-1] == Op.AVERAGE | Op.HOLD and ops(made) == [BOTH, Op.FETCH]
    assert made.client.asked[-1].steps == 1 and made._versions.tolist() == [2]
    assert made.evaluated().flat is average.flat is not made.client.incoming
    step(made, 3)
    made.flush(0)
    assert [seen[0] for seen in made.model.seen[2:]] == [200.0, *[500.0 if waits else 200.0] * 2]
    assert [asked.gradient for asked in made.client.asked if asked.op & Op.PUSH] == [1.0, 30.0]


def test_counts():
    made = client(waits=True, n_fetch=2, n_push=3)
    step(made, 6)
    assert (made.steps, made.pushes, made.fetches) == (6, 2, 1 + 3)


def test_rate_of_a_push_follows_the_schedule():
    schedule = Schedule(kind="linear", warmup_epochs=0.0, decay_epochs=1.0)
    made = client(waits=True, schedule=schedule)
    step(made, examples=0)
    step(made, examples=50)
    assert [asked.rate for asked in made.client.asked] == [0.5, 0.25]


def test_rate_of_a_flush_follows_the_schedule():
    made = client(n_push=10, schedule=Schedule(kind="linear", warmup_epochs=0.0, decay_epochs=1.0))
    step(made, 2)
    made.flush(75)
    assert made.client.asked[-1].rate == 0.125


@pytest.mark.parametrize("n_push", [1, 3])
def test_a_gradient_that_is_not_finite_is_pushed_but_moves_no_copy(n_push):
    made = client(gradients=[1.0, np.inf, 2.0], n_fetch=100, n_push=n_push, local_rate=0.25)
    step(made)
    made.client.end()
    step(made, 2)
    made.flush(0)
    assert made.theta.flat[0] == 200.0 - 0.25 * 2
    assert np.inf in [asked.gradient for asked in made.client.asked]  # for the shard to refuse and count


@pytest.mark.parametrize("n_push", [1, 2, 3])
def test_a_gradient_that_is_not_finite_never_enters_parameters_shared_with_the_shard(n_push):
    values = np.ones(SIZE)
    settings = Downpour(
        rule="sgd", learning_rate=0.5, n_push=n_push, overlap=False, schedule=Schedule(warmup_epochs=0.0)
    )
    shard = Shard(0, {Piece(0, 0, 0, 0, SIZE): values}, make(settings), settings)
    service = LocalClient(shard, [Piece(0, 0, 0, 0, SIZE)], values, shared=True)
    model = Model([1.0, np.inf, 1.0, np.nan, 1.0, 1.0])
    made = learner(settings, model, service)
    made.fetch()
    step(made, 6)
    made.flush(0)
    assert np.isfinite(values).all() and shard.tally.refused
    assert all(np.isfinite(seen).all() for seen in model.seen)


def test_shared_parameters_are_changed_by_the_shard_alone():
    values = np.ones(SIZE)
    settings = Downpour(
        rule="sgd", learning_rate=0.5, n_push=2, overlap=False, schedule=Schedule(warmup_epochs=0.0)
    )
    shard = Shard(0, {Piece(0, 0, 0, 0, SIZE): values}, make(settings), settings)
    service = LocalClient(shard, [Piece(0, 0, 0, 0, SIZE)], values, shared=True)
    made = learner(settings, Model([1.0] * 5), service)
    made.fetch()
    assert made.theta.flat is values
    step(made, 5)  # pushes of 1, 2 and 2 gradients after steps 0, 2 and 4
    assert [seen[0] for seen in made.model.seen] == [1.0, 0.5, 0.5, -0.5, -0.5]
    assert values[0] == -1.5


def order(before: int = 0) -> Any:
    return assignment_of(Portion(0, 0, 0, 3, 30, before, PlanNumbers(90, 10, 1, 1, 3, None)))


def test_a_portion_is_learned_from_minibatch_by_minibatch():
    made, report = client(waits=True), np.zeros((), REPORT)
    made.prepare(order())
    made.train(order(), report)
    assert made.steps == 3 and (report["steps"], report["examples"]) == (3, 30)
    assert (report["loss_sum"], report["correct"]) == (4.5, 3)


def first_reports(versions: list[int]) -> list[tuple[float, int]]:
    """Return what portions report of their first minibatch, when parameters of these versions are fetched."""
    made, reports = client(waits=True), []
    for version in versions:
        made.client.version = version - 1  # the next fetch gives the next one
        report = np.zeros((), REPORT)
        made.prepare(order())
        made.train(order(), report)
        reports.append((float(report["first_loss_sum"]), int(report["first_examples"])))
    return reports


def test_the_first_minibatch_on_parameters_without_updates_is_reported_apart():
    assert first_reports([0, 0]) == [(1.5, 10), (0.0, 0)]  # of the next portion none


def test_parameters_that_had_updates_are_not_the_first():
    assert first_reports([1]) == [(0.0, 0)]


def test_learning_begins_with_a_fetch_at_the_start_and_after_a_flush():
    made = client(waits=True, n_fetch=100, n_push=100)
    for _ in range(2):
        made.prepare(order())
        made.train(order(), np.zeros((), REPORT))
    assert ops(made) == [Op.FETCH, BOTH]  # of the beginning, and of step 0
    made.flush(0)
    made.prepare(order())
    made.train(order(), np.zeros((), REPORT))
    assert ops(made)[2:] == [Op.PUSH, Op.FETCH, BOTH] and made.steps == 3


def test_the_rate_counts_the_examples_handed_out_before_the_portion():
    made = client(waits=True, schedule=Schedule(kind="linear", warmup_epochs=0.0, decay_epochs=1.0))
    made.prepare(order(20))
    made.train(order(20), np.zeros((), REPORT))
    assert [asked.rate for asked in made.client.asked if asked.op & Op.PUSH] == [0.4, 0.35, 0.3]


def test_examples_are_unpushed_until_the_shards_have_answered():
    made = client(n_fetch=100, n_push=2)
    counts = []
    for _ in range(2):
        step(made)
        counts.append(made.unpushed)
    made.client.end()
    step(made)  # the push of step 0 is acknowledged; that of step 2 begins
    assert [*counts, made.unpushed] == [WHOLE, 2 * WHOLE, 2 * WHOLE]
    step(made)
    assert made.unpushed == 3 * WHOLE
    made.flush(0)
    assert made.unpushed == 0


@pytest.mark.parametrize(("n_push", "unpushed"), [(1, 0), (2, 0), (100, 20)])
def test_a_report_says_how_many_examples_no_shard_is_known_to_have(n_push, unpushed):
    made, report = client(waits=True, n_push=n_push), np.zeros((), REPORT)
    made.prepare(order())
    made.train(order(), report)
    assert report["unpushed"] == unpushed


def test_its_buffers_are_free_once_nobody_has_it_any_more():
    made = client()
    handlers, seen = made.handlers(), weakref.ref(made)
    gc.disable()
    try:
        del made, handlers
        assert seen() is None
    finally:
        gc.enable()
