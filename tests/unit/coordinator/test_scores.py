"""Evaluations of a run that stands still: what they cost, and that they are of one set of parameters."""

from typing import Any

import pytest

from dbmpi.config.sections import Train
from dbmpi.coordinator.activity import Coordination
from dbmpi.coordinator.replicas import ReplicaTable
from dbmpi.coordinator.scores import ScoreKeeper
from dbmpi.coordinator.stopping import Stopping
from dbmpi.output.evaluation_sums import EvaluationSums


class Nobody:
    """A dispatcher, and a metrics log."""

    empty = EvaluationSums()

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def send_to_spares(self, assignment: Any) -> None:
        """See `replicas.Dispatcher`."""

    def send(self, replica: int, assignment: Any) -> None:
        """See `replicas.Dispatcher`."""
        self.sent.append((int(assignment["start"]), int(assignment["stop"])))


@pytest.fixture
def world() -> Any:
    """A clock, what was ordered, and what makes a keeper."""
    nobody, now = Nobody(), [0.0]
    table = ReplicaTable((2, 1), 100.0, nobody, lambda r, p: "", lambda: now[0])
    log: Any = nobody
    shared = Coordination(table, log, Stopping(Train()))
    return now, nobody, lambda wanted=True: ScoreKeeper(shared, 10, wanted)


def test_one_is_worthwhile_where_it_costs_a_twentieth_of_the_time_at_most(world: Any) -> None:
    now, _, made = world
    keeper = made()
    assert keeper.worthwhile and not made(wanted=False).worthwhile  # what it costs is not known yet
    keeper.start()
    now[0] = 3.0
    assert keeper.end() is not None
    now[0] += 59.0
    assert not keeper.worthwhile
    now[0] += 1.0
    assert keeper.worthwhile


def test_one_in_which_a_shard_died_is_made_again(world: Any) -> None:
    _, nobody, made = world
    keeper = made()
    keeper.start()
    keeper.shard_died()
    assert keeper.end() is None and nobody.sent == [(0, 5), (5, 10)] * 2
    assert keeper.end() is not None
