"""What is compared: the algorithms, with how many replicas, and beside what. Pure.

A new way to train is a new line of WAYS, and a style in `scripts.compare.charts`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from scripts.ways import CONJUGATE, LBFGS, SYNC, rule

SERIAL = "serial"
REPLICAS = (2, 6, 28)
BUSY = 2  # busy processes beside
Settings = Callable[[int, int], list[str] | None]


def average(replicas: int) -> int:
    """Return how many pushes a shard takes the mean of: a quarter of the replicas, two at least."""
    return max(2, replicas // 4)


def backups(replicas: int) -> int:
    """Return how many replicas a round does not wait for: about a tenth, of two none."""
    return max(1, round(replicas / 10)) if replicas > 2 else 0


def batch(method: Sequence[str]) -> Settings:
    """Return the settings of a batch method, after a warmstart of one epoch."""
    return lambda replicas, rows: [*method, "train.epochs=none", f"sandblaster.warmstart_examples={rows}"]


def with_backups(replicas: int, rows: int) -> list[str] | None:
    """Return the settings of rounds that do not wait for all."""
    spare = backups(replicas)
    return [*SYNC, f"downpour.backups={spare}"] if spare else None


# Key -> what the page calls it, and its settings by replicas and training examples; None: not with so few.
WAYS: dict[str, tuple[str, Settings]] = {
    SERIAL: ("serial", lambda replicas, rows: []),
    "adagrad": ("Downpour, Adagrad", lambda replicas, rows: rule("adagrad")),
    "adam": ("Downpour, Adam", lambda replicas, rows: [*rule("adam"), "downpour.learning_rate=0.001"]),
    "adarevision": ("Downpour, adarevision", lambda replicas, rows: rule("adarevision")),
    "average": ("Downpour, averaging", lambda replicas, rows: [f"downpour.average={average(replicas)}"]),
    "sync": ("sync", lambda replicas, rows: SYNC),
    "backups": ("sync, backups", with_backups),
    "lbfgs": ("Sandblaster, L-BFGS", batch(LBFGS)),
    "cg": ("Sandblaster, conjugate gradients", batch(CONJUGATE)),
}


@dataclass(frozen=True)
class Case:
    """One run: a way to train, how many replicas (0: one process), and whether beside busy processes."""

    key: str
    replicas: int
    busy: bool

    @property
    def name(self) -> str:
        """Its name, of which that of a file is made."""
        size = [str(self.replicas)] if self.replicas else []
        return "-".join([self.key, *size, "busy" if self.busy else "idle"])

    @property
    def ranks(self) -> int:
        """Coordinator, shard and replicas of one partition; or one process."""
        return self.replicas + 2 if self.replicas else 1

    def settings(self, rows: int) -> list[str]:
        """Return its own settings, for so many training examples."""
        own = WAYS[self.key][1](self.replicas, rows)
        cluster = ["cluster.shards=1", f"cluster.replicas={self.replicas}", "cluster.partitions=1"]
        return [*(cluster if self.replicas else []), *(own or [])]


def cases(keys: Sequence[str], replicas: Sequence[int]) -> Iterator[Case]:
    """Yield all runs, those on an idle machine first."""
    for busy in (False, True):
        for key in keys:
            for count in replicas if key != SERIAL else (0,):
                if WAYS[key][1](count, 1) is not None:
                    yield Case(key, count, busy)
