"""Deaths of shards that the coordinator learns of one after the other."""

from typing import Any

import numpy as np
import pytest

from dbmpi.comm.protocol import ANSWER, Command
from dbmpi.coordinator.failover import Failover
from dbmpi.errors import PeerDied
from dbmpi.layout.topology import assign_roles


class Channel:
    """Shards that obey; the first order to one of them meets its death. `mirrors`: what successors have."""

    def __init__(self, dead: list[int], dies: int = -1, mirrors: Any = ()) -> None:
        self.detector, self.dead, self.dies, self.mirrors = self, dead, dies, list(mirrors)

    def called(self, rank: int, name: str) -> str:
        """See `FailureDetector.called`."""
        return name

    def order(self, rank: int, command: Command, **fields: int) -> None:
        """See `CommandChannel.order`."""
        if rank == self.dies and rank not in self.dead:
            self.dead.append(rank)

    def answer(self, rank: int, what: str) -> Any:
        """See `CommandChannel.answer`."""
        answer = np.zeros((), ANSWER)
        if self.mirrors:
            answer["mirror"], answer["before"] = self.mirrors.pop(0)
        return answer


class Silent:
    """Stands for the dispatcher and the log."""

    shards: dict[int, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **values: None


def test_a_death_that_a_failover_meets_is_seen_to_as_well() -> None:
    topology = assign_roles(7, shards=4, replicas=2, partitions=1)
    channel: Any = Channel([topology.shards[0]], topology.shards[2])
    silent: Any = Silent()
    failover = Failover(channel, topology, silent, silent, (dict.fromkeys(range(4), 0.0), 1.0), lambda: None)
    assert failover.handle_failures()
    assert failover.owners.living == [1, 3]
    assert not failover.handle_failures()


def of_a_batch(mirrors: list[tuple[int, int]], floor: int = 0) -> Failover:
    """A failover of shards 0 and 2 of four, whose successors have these mirrors: last, and before."""
    topology = assign_roles(7, shards=4, replicas=2, partitions=1)
    channel: Any = Channel([topology.shards[0], topology.shards[2]], mirrors=mirrors)
    silent: Any = Silent()
    made = Failover(channel, topology, silent, silent, (dict.fromkeys(range(4), 0.0), 1.0), lambda: None)
    made.ordered, made.floor = True, floor
    return made


@pytest.mark.parametrize(
    ("mirrors", "lost"),
    [
        ([(5, 4), (5, 4)], 5),
        ([(5, 4), (4, -1)], 4),
        ([(4, -1), (5, 4)], 4),
        ([(1, 0), (0, -1)], 0),  # what is left of a warmstart
    ],
)
def test_shards_that_die_at_once_go_back_to_the_newest_mirror_that_all_have(mirrors: Any, lost: int) -> None:
    failover = of_a_batch(mirrors)
    assert failover.handle_failures() and failover.lost == lost


@pytest.mark.parametrize(
    ("mirrors", "floor"), [([(5, -1), (4, -1)], 0), ([(4, -1), (5, -1)], 0), ([(5, -1), (4, 3)], 5)]
)
def test_without_a_mirror_that_all_have_the_run_cannot_go_on(mirrors: Any, floor: int) -> None:
    with pytest.raises(PeerDied, match="iterate"):
        of_a_batch(mirrors, floor).handle_failures()
