"""Deaths of shards that the coordinator learns of one after the other."""

from typing import Any

import numpy as np

from dbmpi.comm.protocol import ANSWER, Command
from dbmpi.coordinator.failover import Failover
from dbmpi.layout.topology import assign_roles


class Channel:
    """Shards that obey; the first order to one of them meets its death."""

    def __init__(self, dead: list[int], dies: int) -> None:
        self.detector, self.dead, self.dies = self, dead, dies

    def order(self, rank: int, command: Command, **fields: int) -> None:
        """See `CommandChannel.order`."""
        if rank == self.dies and rank not in self.dead:
            self.dead.append(rank)

    def answer(self, rank: int, what: str) -> Any:
        """See `CommandChannel.answer`."""
        return np.zeros((), ANSWER)


class Silent:
    """Stands for the dispatcher and the log."""

    shards: dict[int, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **values: None


def test_a_death_that_a_failover_meets_is_seen_to_as_well() -> None:
    topology = assign_roles(7, shards=4, replicas=2, partitions=1)
    channel: Any = Channel([topology.shards[0]], topology.shards[2])
    silent: Any = Silent()
    failover = Failover(channel, topology, silent, silent, dict.fromkeys(range(4), 0.0), lambda: None)
    assert failover.handle_failures()
    assert failover.owners.living == [1, 3]
    assert not failover.handle_failures()
