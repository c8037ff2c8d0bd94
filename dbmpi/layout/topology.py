"""Who does what: the role of every rank, from the world size, the node map and the configuration.

Pure arithmetic, without MPI:

    N = 1 coordinator + S shards + R replicas x P partitions (+ ranks left over)

The coordinator is world rank 0. Shards are spread over the nodes; the partitions of one replica
sit on one node where they fit. A single process (N = 1) trains serially and has every role.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from dbmpi.errors import UserError

Count = int | Literal["auto"]
RANKS_PER_SHARD = 8  # of an "auto" cluster: one shard for about so many ranks that compute
SMALLEST_WORLD = 3
MPIRUN = "mpirun -n"


@dataclass(frozen=True)
class Role:
    """What one world rank is; indices that do not apply are -1."""

    kind: Literal["coordinator", "shard", "replica", "spare", "serial"]
    shard_index: int = -1
    replica_index: int = -1
    partition_index: int = -1

    def __str__(self) -> str:
        if self.kind == "shard":
            return f"shard {self.shard_index}"
        if self.kind == "replica":
            return f"replica {self.replica_index} partition {self.partition_index}"
        return self.kind


@dataclass(frozen=True)
class Topology:
    """The world ranks of every role.

    `shards[i]` is the world rank of shard i, `replicas[r][p]` that of partition p of replica r;
    `spares` are the ranks left over, which wait without work for the end of the run.
    """

    size: int
    shards: tuple[int, ...]
    replicas: tuple[tuple[int, ...], ...]
    spares: tuple[int, ...] = ()
    coordinator: int = 0
    roles: tuple[Role, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "roles", _roles(self))

    @cached_property
    def partitions(self) -> int:
        """The number of partitions of each replica, P."""
        return len(self.replicas[0])

    def companions(self, rank: int) -> tuple[int, ...]:
        """Return the world ranks of the replica that `rank` is in; itself alone where it has another role."""
        return next((members for members in self.replicas if rank in members), (rank,))

    @property
    def serial(self) -> bool:
        """Whether one process has every role."""
        return self.size == 1

    def equation(self) -> str:
        """Return the line that accounts for every rank."""
        if self.serial:
            return "1 rank = serial training (coordinator, shard and replica in one process)"
        left = f" + {len(self.spares)} left over" if self.spares else ""
        return (
            f"{self.size} ranks = 1 coordinator + {_plural(len(self.shards), 'shard')} + "
            f"{_plural(len(self.replicas), 'replica')} x {_plural(self.partitions, 'partition')}{left}"
        )


def assign_roles(
    size: int,
    shards: Count = "auto",
    replicas: Count = "auto",
    partitions: Count = "auto",
    nodes: Sequence[int] | None = None,
    option: str = MPIRUN,
) -> Topology:
    """Give every rank its role.

    Parameters
    ----------
    size
        World size N.
    shards, replicas, partitions
        What the configuration asks for; what it leaves to "auto" is chosen from N. A replica is not split
        unless the caller says so (`run.plan.splitting`): whether that pays depends on the network.
    nodes
        The node number of each world rank; None means one node.
    option
        By which the user says how many ranks there are.

    Raises
    ------
    UserError
        If the world cannot hold what was asked for; the text has the equation with its numbers.
    """
    if size == 1:
        return _serial(shards, replicas, partitions, option)
    s, r, p = _counts(size, shards, replicas, partitions, option)
    return _arrange(size, s, r, p, list(nodes) if nodes is not None else [0] * size)


def _serial(shards: Count, replicas: Count, partitions: Count, option: str) -> Topology:
    wanted = {"shards": shards, "replicas": replicas, "partitions": partitions}
    given = [f"cluster.{name} = {count}" for name, count in wanted.items() if count not in ("auto", 1)]
    if given:
        needed = 1 + int(_or_one(shards)) + int(_or_one(replicas)) * int(_or_one(partitions))
        alone = " ".join(f"{one.split(' ')[0]}=auto" for one in given)
        raise UserError(
            f"{', '.join(given)}, but the program runs as 1 process, which trains serially: start it with "
            f"{option} {needed}, or add --set {alone}"
        )
    return Topology(1, (0,), ((0,),))


def _counts(
    size: int, shards: Count, replicas: Count, partitions: Count, option: str
) -> tuple[int, int, int]:
    """Choose what is left to "auto", and check that all fits."""
    s_least, r_least = int(_or_one(shards)), int(_or_one(replicas))
    partitions = _or_one(partitions)
    s = s_least
    if shards == "auto":
        room = size - 1 - r_least * partitions
        ranks = (size - 1) // (RANKS_PER_SHARD + 1)
        wish = ranks if replicas == "auto" else round(r_least * partitions / RANKS_PER_SHARD)
        s = max(1, min(wish, room))
    r = max(1, (size - 1 - s) // partitions) if replicas == "auto" else replicas
    if shards == replicas == "auto":
        s = max(s, size - 1 - r * partitions)
    _check(size, s, r, partitions, option)
    return s, r, partitions


def _check(size: int, shards: int, replicas: int, partitions: int, option: str) -> None:
    needed = 1 + shards + replicas * partitions
    if needed <= size:
        return
    raise UserError(
        f"{needed} ranks = 1 coordinator + {_plural(shards, 'shard')} + {_plural(replicas, 'replica')} x "
        f"{_plural(partitions, 'partition')}; "
        + (f"mpirun started {size}: " if option == MPIRUN else f"these are {size}: ")
        + (
            f"start at least {SMALLEST_WORLD} ranks ({option} {SMALLEST_WORLD}), or 1 to train serially"
            if size < SMALLEST_WORLD
            else f"start {needed} ({option} {needed}), or lower cluster.shards, cluster.replicas or "
            "cluster.partitions"
        )
    )


def _arrange(size: int, shards: int, replicas: int, partitions: int, nodes: list[int]) -> Topology:
    """Spread the shards over the nodes, then fill replicas node by node."""
    free: dict[int, list[int]] = {}
    for rank in range(1, size):
        free.setdefault(nodes[rank], []).append(rank)

    taken = dict.fromkeys(free, 0)
    shard_ranks = []
    for _ in range(shards):
        node = min(
            (n for n in free if free[n]),
            key=lambda n: (taken[n], len(free[n]) % partitions == 0, -len(free[n]), n),
        )
        taken[node] += 1
        shard_ranks.append(free[node].pop(0))

    groups: list[tuple[int, ...]] = []
    for ranks in free.values():
        while len(ranks) >= partitions and len(groups) < replicas:
            groups.append(tuple(ranks.pop(0) for _ in range(partitions)))
    rest = sorted(rank for ranks in free.values() for rank in ranks)
    while len(groups) < replicas:
        groups.append(tuple(rest.pop(0) for _ in range(partitions)))
    return Topology(size, tuple(sorted(shard_ranks)), tuple(groups), tuple(rest))


def _roles(topology: Topology) -> tuple[Role, ...]:
    if topology.serial:
        return (Role("serial", 0, 0, 0),)
    roles = [Role("spare")] * topology.size
    roles[topology.coordinator] = Role("coordinator")
    for i, rank in enumerate(topology.shards):
        roles[rank] = Role("shard", shard_index=i)
    for r, ranks in enumerate(topology.replicas):
        for p, rank in enumerate(ranks):
            roles[rank] = Role("replica", replica_index=r, partition_index=p)
    return tuple(roles)


def _or_one(count: Count) -> int:
    return 1 if count == "auto" else count


def _plural(n: int, word: str) -> str:
    return f"{n} {word}{'' if n == 1 else 's'}"
