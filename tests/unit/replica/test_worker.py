"""The worker of a partition: whose work is whose, what reports count, and what a warmstart frees."""

import gc
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from dbmpi.comm.assignments import about, evaluation_of, plain, reroute
from dbmpi.comm.protocol import Work
from dbmpi.comm.wait import Waiter
from dbmpi.data.measures import Measures
from dbmpi.model.losses import Score
from dbmpi.replica.worker import PartitionWorker, Retired


class Service:
    """Stands for the parameter service."""

    busy = False

    def __init__(self) -> None:
        self.rerouted: list[tuple[int, int]] = []
        self.waits = 0

    def reroute(self, dead: int, successor: int) -> None:
        self.rerouted.append((dead, successor))

    def wait(self) -> None:
        self.waits += 1


class Algorithm:
    """Does some kinds of work, and counts ten pushes for each; keeps what it was told."""

    theta = "its parameters"

    def __init__(self, service: Any, works: list[Work], urgent: list[Work]) -> None:
        self.client, self._works, self._urgent = service, works, urgent
        self.pushes = self.fetches = self.refused = 0
        self.done: list[Work] = []
        self.prepared: list[Work] = []
        self.pushed: list[Any] = []
        self.closed = False

    def handlers(self) -> dict[Work, Any]:
        return dict.fromkeys(self._works, self.work)

    def urgent_handlers(self) -> dict[Work, Any]:
        return dict.fromkeys(self._urgent, self.at_once)

    def work(self, assignment: Any, report: Any) -> None:
        self.done.append(Work(int(assignment["work"])))
        self.pushes += 10
        report["examples"] = 7

    def at_once(self, assignment: Any) -> None:
        self.done.append(Work(int(assignment["work"])))

    def prepare(self, assignment: Any) -> None:
        self.prepared.append(Work(int(assignment["work"])))

    def take_pushed(self) -> list[Any]:
        taken, self.pushed = self.pushed, []
        return taken

    def evaluated(self) -> str:
        self.fetches += 1
        return self.theta

    def close(self) -> None:
        self.closed = True


class Model:
    """Scores each example of a minibatch 0.5; has sent 2 messages of 8 bytes since it was last asked."""

    freed = False

    def evaluate(self, theta: str, width: int, targets: Any, count: Any) -> Score:
        assert theta == Algorithm.theta
        count(None, None)
        return Score(width / 2, 1)

    def take_sent(self) -> tuple[int, int]:
        return 2, 8

    def free(self) -> None:
        self.freed = True


class Loader:
    """Yields minibatches of the rows that it is asked for."""

    closed = False

    def evaluation(self, start: int, stop: int, width: int) -> Iterator[tuple[int, Any]]:
        for first in range(start, stop, width):
            yield min(width, stop - first), None

    def close(self) -> None:
        self.closed = True


class Counted:
    """Counts minibatches as the first of three figures."""

    measures = Measures("classes", 1)

    def add(self, workspace: Any, boundary: Any, targets: Any, figures: Any) -> None:
        figures[0] += 1


def downpour(service: Service) -> Algorithm:
    return Algorithm(service, [Work.TRAIN, Work.FLUSH], [])


def sandblaster(service: Service) -> Algorithm:
    return Algorithm(service, [Work.GRADIENT], [Work.ACCEPT, Work.DROP, Work.PUSH])


def worker(*algorithms: Algorithm) -> PartitionWorker:
    given: Any = (3, 1), Model(), Loader(), algorithms, Waiter(30.0), lambda: None, 4, Counted()
    return PartitionWorker(*given)


def test_a_report_says_who_did_which_work_and_what_was_sent_and_counted_meanwhile() -> None:
    made = worker(downpour(Service()))
    for _ in range(2):
        report = made.perform(plain(Work.TRAIN))
        assert (report["work"], report["replica"], report["partition"]) == (Work.TRAIN, 3, 1)
        assert (report["examples"], report["pushes"], report["fetches"]) == (7, 10, 0)
        assert (report["boundary_messages"], report["boundary_bytes"]) == (2, 8)


def test_an_evaluation_fetches_parameters_and_scores_each_row_once() -> None:
    algorithm = downpour(Service())
    report = worker(algorithm).perform(evaluation_of(10, 20))
    assert (report["examples"], report["loss_sum"], report["correct"]) == (10, 5.0, 3)
    assert algorithm.fetches == report["fetches"] == 1


def test_every_algorithm_may_prepare_and_gets_what_is_urgent_of_it() -> None:
    first, second = downpour(Service()), sandblaster(Service())
    made = worker(first, second)
    made.prepare(plain(Work.GRADIENT))
    for work in (Work.ACCEPT, Work.DROP, Work.PUSH):
        made.handle_urgent(plain(work))
    assert first.prepared == second.prepared == [Work.GRADIENT]
    assert first.done == [] and second.done == [Work.ACCEPT, Work.DROP, Work.PUSH]


def test_a_warmstart_ends_with_the_first_gradient_and_frees_what_its_algorithm_held() -> None:
    first, second = downpour(Service()), sandblaster(Service())
    made, seen, done = worker(first, second), weakref.ref(first), first.done
    made.perform(plain(Work.TRAIN))
    made.perform(plain(Work.FLUSH))
    assert made.perform(evaluation_of(0, 4))["fetches"] == 1  # of the algorithm of the warmstart
    del first
    gc.disable()
    try:
        report = made.perform(plain(Work.GRADIENT))
        assert seen() is None, "its buffers must be free before the next ones are made"
    finally:
        gc.enable()
    assert done == [Work.TRAIN, Work.FLUSH] and second.done == [Work.GRADIENT]
    assert report["pushes"] == 10  # its own, none of the warmstart
    assert made.perform(evaluation_of(0, 4))["fetches"] == second.fetches == 1


def test_pushes_that_were_acknowledged_are_reported_with_their_pass() -> None:
    algorithm = sandblaster(Service())
    made = worker(algorithm)
    algorithm.pushed = [about(Work.PUSH, 5), about(Work.PUSH, 6)]
    reports = made.take_pushed()
    assert [(int(r["work"]), int(r["pass_number"])) for r in reports] == [(Work.PUSH, 5), (Work.PUSH, 6)]
    assert made.take_pushed() == []


def test_the_order_to_retire_is_obeyed_at_once() -> None:
    with pytest.raises(Retired):
        worker(downpour(Service())).handle_urgent(plain(Work.RETIRE))


def test_a_dead_shard_s_successor_is_told_to_the_parameter_service() -> None:
    service = Service()
    worker(downpour(service)).handle_urgent(reroute(2, 0))
    assert service.rerouted == [(2, 0)]


@pytest.mark.parametrize("busy", [False, True])
def test_one_that_retires_lets_what_is_in_flight_end_first(busy: bool) -> None:
    service = Service()
    service.busy = busy
    made = worker(downpour(service))
    made.retire()
    assert service.waits == busy
    made.close(retired=True)
    assert made._loader.closed and not made._model.freed  # requests on a revoked communicator


def test_closing_ends_every_algorithm() -> None:
    first, second = downpour(Service()), sandblaster(Service())
    made = worker(first, second)
    made.close()
    assert first.closed and second.closed and made._loader.closed and made._model.freed


def test_a_sign_of_life_says_no_more() -> None:
    report = worker(downpour(Service())).alive()
    assert report["work"] == Work.ALIVE and report["busy_s"] == 0 and np.all(report["examples"] == 0)
