"""Silent ranks: who is told, who is killed, and when one counts as dead."""

from typing import Any

import pytest

from dbmpi.comm import ulfm
from dbmpi.comm.protocol import Command, Work
from dbmpi.comm.wait import Waiter
from dbmpi.coordinator import fencing
from dbmpi.coordinator.fencing import Fencing
from dbmpi.layout.topology import assign_roles
from dbmpi.process import Process

SHARD, REPLICA = 2, 3  # world ranks of 5
PROCESSES = [Process(100 + rank, rank, "here") for rank in range(5)]


class Cluster:
    """Takes down what is sent, said and killed, and passes for channel, dispatcher and detector."""

    def __init__(self) -> None:
        self.waiter, self.dead, self.silent = Waiter(0.0), list[int](), set[int]()
        self.told: list[tuple[int, int]] = []
        self.said: list[str] = []
        self.killed: list[Process] = []

    def order(self, rank: int, command: Command, **fields: int) -> None:
        """See `CommandChannel.order`."""
        assert command is Command.FENCE
        self.told.append((rank, fields["dead"]))

    def send_to(self, ranks: Any, assignment: Any) -> None:
        """See `MpiDispatcher.send_to`."""
        assert assignment["work"] == Work.FENCE
        self.told += [(rank, int(assignment["dead"])) for rank in ranks]

    def declare(self, rank: int) -> None:
        """See `FailureDetector.declare`."""
        self.dead.append(rank)


def fenced(monkeypatch: pytest.MonkeyPatch, *, may_die: bool) -> tuple[Fencing, Cluster]:
    cluster: Any = Cluster()
    monkeypatch.setattr(ulfm, "enabled", lambda: may_die)
    monkeypatch.setattr(fencing, "kill", cluster.killed.append)
    topology = assign_roles(5, shards=2, replicas=2, partitions=1)
    return Fencing(cluster, cluster, topology, PROCESSES, cluster, cluster.said.append), cluster


def test_where_ranks_may_die_all_are_told_and_it_is_killed(monkeypatch):
    fence, cluster = fenced(monkeypatch, may_die=True)
    assert fence.fence(SHARD)
    assert sorted(cluster.told) == [(rank, SHARD) for rank in range(1, 5)]
    assert cluster.killed == [PROCESSES[SHARD]] and cluster.dead == [] and not fence.absent
    assert cluster.silent == {SHARD}
    assert "no sign of life for 0 s from rank 2 (shard 1)" in cluster.said[0] and "killed" in cluster.said[0]


def test_one_whose_death_does_not_show_counts_as_dead_after_a_while(monkeypatch):
    fence, cluster = fenced(monkeypatch, may_die=True)
    while not cluster.dead:
        assert fence.fence(SHARD)
    assert cluster.dead == [SHARD] and fence.absent == {SHARD}
    assert fence.fence(SHARD) and cluster.dead == [SHARD] and len(cluster.said) == len(cluster.killed) == 1


def test_where_a_death_would_end_the_job_it_is_told_and_left_alone(monkeypatch):
    fence, cluster = fenced(monkeypatch, may_die=False)
    assert not fence.fence(REPLICA) and not fence.fence(REPLICA)
    assert cluster.killed == cluster.dead == [] and fence.absent == {REPLICA}
    assert sorted(cluster.told) == [(rank, REPLICA) for rank in range(1, 5)]
    assert len(cluster.said) == 1 and "goes on without it" in cluster.said[0]


def test_without_a_shard_such_a_run_is_over(monkeypatch):
    fence, cluster = fenced(monkeypatch, may_die=False)
    assert not fence.fence(SHARD)
    assert cluster.told == [] and cluster.said == []
