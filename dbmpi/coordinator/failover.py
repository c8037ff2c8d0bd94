"""What becomes of the pieces of dead shards: their successors go on with the mirrors (`server.mirror`).

Several may die at once. What each has held must be whole with a living successor; and under a batch method,
at one number: of the last two mirrors every successor still has the older one, and every shard can go back to
it (`server.shard`). Partitions are told when what has moved is mirrored again.
"""

from collections.abc import Callable, Mapping

from dbmpi.arrays import Record
from dbmpi.awake import awake
from dbmpi.comm.assignments import reroute
from dbmpi.comm.protocol import Command, Status
from dbmpi.coordinator.commands import CommandChannel, MpiDispatcher
from dbmpi.errors import PeerDied
from dbmpi.layout.sharding import Owners
from dbmpi.layout.topology import Topology
from dbmpi.output.metrics import MetricsLog


class Failover:
    """Lets successors go on for dead shards, and tells everyone.

    Parameters
    ----------
    channel
        How shards are reached.
    topology
        Which rank has which role.
    dispatcher
        How replicas are reached.
    log
        Where deaths are recorded, and the shards' last reports are.
    reports
        When the last report of each shard came, by `awake`; and the interval of reports, in seconds.
    cover
        Waits until what has moved is mirrored, or another shard is known to be dead.

    Attributes
    ----------
    owners
        Which shards live, and serve what.
    ordered
        Whether mirrors are of an iterate, by order, and not of whatever moment.
    lost
        The mirror whose iterate successors have gone on with, if a shard has died since this was last None.
    begun
        Whether any work was given; before, a successor can make the first parameters itself.
    floor
        The mirror that the run went back to last: the shards have nothing older.
    """

    def __init__(
        self,
        channel: CommandChannel,
        topology: Topology,
        dispatcher: MpiDispatcher,
        log: MetricsLog,
        reports: tuple[Mapping[int, float], float],
        cover: Callable[[], None],
    ) -> None:
        self._channel, self._topology, self._dispatcher, self._log = channel, topology, dispatcher, log
        (self._heard, self._every_s), self._began, self._cover = reports, awake(), cover
        self.owners = Owners(len(topology.shards))
        self.ordered = False
        self.lost: int | None = None
        self._oldest: int | None = None  # mirror that all successors can go back to, since `lost` was None
        self.floor, self.begun = 0, False

    def name(self, shard: int) -> str:
        """Return how messages call a shard."""
        return f"rank {self._topology.shards[shard]} (shard {shard})"

    def _dead(self, shard: int) -> str:
        return self._channel.detector.called(self._topology.shards[shard], self.name(shard))

    def handle_failures(self) -> bool:
        """See to the pieces of shards that have died since the last call; return whether one has.

        Raises
        ------
        PeerDied
            It was the last one, or its successor has no whole mirror, or is dead too; or several have died,
            and their mirrors have no number in common.
        """
        moved: list[tuple[int, int]] = []
        while fresh := self.fresh:  # more may die, and be learned of, meanwhile
            moved += [(shard, self._fail_over(shard)) for shard in fresh]
            self._cover()
        for dead, successor in moved:
            for partitions in self._topology.replicas:
                self._dispatcher.send_to(partitions, reroute(dead, successor))
        return bool(moved)

    @property
    def fresh(self) -> list[int]:
        """The shards that are known to be dead, and not yet seen to."""
        ranks, dead = self._topology.shards, self._channel.detector.dead
        return [shard for shard in self.owners.living if ranks[shard] in dead]

    def _fail_over(self, dead: int) -> int:
        """Let the successor of a shard go on for it; return which that is."""
        if self.owners.living == [dead]:
            raise PeerDied.named([self._dead(dead)])
        successor = self.owners.mark_dead(dead)
        ranks = self._topology.shards
        for shard in self.owners.living:
            self._channel.order(ranks[shard], Command.ADOPT, dead=dead, anew=not self.begun)
        answer = self._channel.answer(ranks[successor], "taking over from another shard")
        if answer is None:
            raise PeerDied.named([self._dead(shard) for shard in sorted((dead, successor))])
        if answer["status"] != Status.OK:
            raise PeerDied(f"{PeerDied.named([self._dead(dead)])}: no mirror of it was whole yet")
        self._record_death(dead, successor, answer)
        return successor

    def _record_death(self, dead: int, successor: int, answer: Record) -> None:
        """Say who goes on, from when, and what is lost."""
        age_s, ranks = int(answer["age_ms"]) / 1000, self._topology.shards
        values: dict[str, object] = {"shard": dead, "heir": successor, "mirror_age_s": age_s}
        if self.ordered:
            self._go_back(dead, int(answer["mirror"]), int(answer["before"]))
            rest = "the run goes back to that iterate"
        else:
            values["updates_lost"] = lost = self._updates_lost(dead, int(answer["updates"]))
            rest = f"about {lost:,} updates are lost"
            self._log.lose_updates(lost)
        self._log.reset_updates(dead)
        self._log.event(
            f"shard {dead} has died (rank {ranks[dead]}): shard {successor} (rank {ranks[successor]}) goes "
            f"on with its parameters as they were {age_s:.1f} s ago; {rest}",
            about="death",
            **values,
        )

    def _go_back(self, dead: int, mirror: int, before: int) -> None:
        """Take note of where the run has to go back to: the newest mirror that all successors have.

        Raises PeerDied if there is none. Number 0 is no moment: what is left of Downpour, at the start.
        """
        if mirror < self.floor:
            raise PeerDied(f"{PeerDied.named([self._dead(dead)])}: its mirror is of an earlier iterate")
        oldest = before if self.floor <= before else mirror
        if self.lost is None:
            self.lost, self._oldest = mirror, oldest
            return
        assert self._oldest is not None
        self.lost, self._oldest = min(self.lost, mirror), max(self._oldest, oldest)
        if self.lost < self._oldest and self.lost:
            raise PeerDied(f"{PeerDied.named([self._dead(dead)])}: another mirror is of another iterate")

    def _updates_lost(self, dead: int, mirrored: int) -> int:
        """Return what a mirror lacks of the last report, and as much for the time since: an estimate.

        A shard that lived for longer than the interval of reports would have sent another.
        """
        since_s, report = min(awake() - self._heard[dead], self._every_s), self._log.shards.get(dead)
        pieces, reported = (int(report["pieces"]), int(report["updates"])) if report is not None else (0, 0)
        since = reported * since_s / max(self._heard[dead] - self._began, 1e-3)
        return round(max(0.0, reported + since - mirrored) / max(pieces, 1))
