"""What becomes of a rank that is silent and perhaps alive: the run must be safe from its waking.

Where ranks may die all ranks are told, those of its host kill it (`process`), and its death is then like
any other. Where no rank is left on its host, or none can reach it, it counts as dead after a while. Where a
death would end the job it is not killed: the run does without it for as long as it takes to save. In any case
shards refuse from now on what it asks for, and if it wakes it learns of that by the same message, and leaves.
"""

from collections.abc import Callable

from dbmpi.awake import Deadline
from dbmpi.comm import ulfm
from dbmpi.comm.assignments import fence
from dbmpi.comm.protocol import Command
from dbmpi.comm.ulfm import FailureDetector
from dbmpi.comm.wait import GRACE, JUDGED
from dbmpi.coordinator.commands import CommandChannel, MpiDispatcher
from dbmpi.errors import silence
from dbmpi.layout.topology import Topology
from dbmpi.process import Process, kill


class Fencing:
    """Fences ranks.

    Parameters
    ----------
    channel, dispatcher
        How shards and replicas are reached.
    topology, processes
        Role and process of every rank.
    detector
        Learns of the deaths.
    say
        Takes a line for the user.

    Attributes
    ----------
    absent
        The ranks that are fenced, and perhaps alive: nobody waits for them.
    """

    def __init__(
        self,
        channel: CommandChannel,
        dispatcher: MpiDispatcher,
        topology: Topology,
        processes: list[Process],
        detector: FailureDetector,
        say: Callable[[str], None],
    ) -> None:
        self._channel, self._dispatcher, self._topology = channel, dispatcher, topology
        self._processes, self._detector, self._say = processes, detector, say
        self._deadlines: dict[int, Deadline] = {}
        self.absent: set[int] = set()

    def fence(self, rank: int) -> bool:
        """Fence a rank that is silent, or see what has come of it; to be called for as long as it is. Local.

        Returns
        -------
        bool
            Whether it is dead, or will be; else the run has to end, without a shard at once.

        Raises
        ------
        PeerDied
            It cannot be ended, and the run cannot go on without it.
        """
        role = self._topology.roles[rank]
        if role.kind == "shard" and not ulfm.enabled():
            return False
        if rank not in self._deadlines:
            self._begin(rank, str(role))
        elif self._deadlines[rank].passed() and rank not in self._detector.dead and ulfm.enabled():
            self.absent.add(rank)
            self._detector.declare(rank)
        return ulfm.enabled()

    def _begin(self, rank: int, role: str) -> None:
        timeout_s = self._channel.waiter.timeout_s
        self._deadlines[rank] = Deadline(GRACE * timeout_s)
        ends = ulfm.enabled()
        consequence = "it is killed" if ends else "the run goes on without it"
        self._say(f"{silence(f'rank {rank} ({role})', JUDGED * timeout_s)}: {consequence}")
        for shard in self._topology.shards:
            self._channel.order(shard, Command.FENCE, dead=rank)
        for partitions in self._topology.replicas:
            self._dispatcher.send_to(partitions, fence(rank))
        if not ends:
            self.absent.add(rank)
            return
        self._detector.silent.add(rank)
        if self._processes:
            kill(self._processes[rank])
