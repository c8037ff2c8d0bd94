"""Who takes part in a run, and which rank is who. Standard library only."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """So many shards, replicas, and partitions of each replica; and the coordinator, rank 0."""

    shards: int
    replicas: int
    partitions: int

    def __str__(self) -> str:
        return f"{self.shards}+{self.replicas}x{self.partitions}"

    @classmethod
    def of(cls, text: str) -> "Shape":
        """Return the shape that a text names, "2+3x1"."""
        shards, _, rest = text.partition("+")
        replicas, _, partitions = rest.partition("x")
        return cls(int(shards), int(replicas), int(partitions))

    @property
    def ranks(self) -> int:
        """How many ranks it takes."""
        return 1 + self.shards + self.replicas * self.partitions

    @property
    def settings(self) -> list[str]:
        """For --set."""
        counts = {"shards": self.shards, "replicas": self.replicas, "partitions": self.partitions}
        return [f"cluster.{name}={count}" for name, count in counts.items()]

    def ranks_of(self, role: str) -> list[int]:
        """Return the ranks that have a role: "coordinator", "shard", "replica", or any."""
        first = 1 + self.shards
        found = {"coordinator": [0], "shard": range(1, first), "replica": range(first, self.ranks)}
        return list(found.get(role, range(self.ranks)))

    def role_of_all(self, ranks: list[int]) -> str:
        """Return the role of some ranks together, as the table of promises calls it.

        Two shards are "shards" where a third one lives, and else "only shard"; likewise replicas.
        """
        lost_shards = {rank for rank in ranks if 0 < rank <= self.shards}
        lost_replicas = {(rank - 1 - self.shards) // self.partitions for rank in ranks if rank > self.shards}
        roles = ["coordinator"] * (0 in ranks)
        if lost_replicas:
            roles.append("replica" if len(lost_replicas) < self.replicas else "last replica")
        if lost_shards:
            several = "shards" if len(lost_shards) > 1 else "shard"
            roles.append(several if len(lost_shards) < self.shards else "only shard")
        return "+".join(roles)


SHAPES = [Shape.of(text) for text in ("2+2x1", "2+3x1", "1+3x1", "3+2x1", "2+1x2", "2+2x2", "1+2x1")]
