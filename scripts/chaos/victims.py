"""Find the ranks of a run among its processes, and kill one of them from outside. Standard library only."""

import random
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from scripts.processes import send

RANK = "OMPI_COMM_WORLD_RANK="
MPICH_RANK = "PMI_RANK="
SHARED = Path("/dev/shm")


def environment(pid: int) -> list[str]:
    """Return the variables that a process was started with; none if it is gone."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


def by_rank(pids: Iterable[int]) -> dict[int, int]:
    """Return rank -> process id, of the processes that are ranks."""
    found = {}
    for pid in pids:
        ranks = [word.partition("=")[2] for word in environment(pid) if word.startswith((RANK, MPICH_RANK))]
        if ranks:
            found[int(ranks[0])] = pid
    return found


def segments(pid: int) -> set[Path]:
    """Return the files in shared memory that a process has mapped."""
    try:
        lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    except OSError:
        return set()
    return {Path(line.split()[5]) for line in lines if f" {SHARED}/" in line}


@dataclass
class Killer:
    """Kills one of some ranks, a random time after training has begun; for `during` of `processes.run`.

    Parameters
    ----------
    run_dir
        The run's directory: its metrics.jsonl appears when training begins.
    victims
        World ranks.
    most_s
        Longest time after the beginning, in seconds.
    draw
        Where chance comes from.
    least_s
        Shortest time.
    """

    run_dir: Path
    victims: list[int]
    most_s: float
    draw: random.Random
    least_s: float = 0.0
    rank: int = -1
    after_s: float = 0.0
    killed: bool = False
    _segments: set[Path] = field(default_factory=set)

    def __call__(self, living: Callable[[], list[int]]) -> None:
        """Wait, and kill; a run that is over by then is left in peace."""
        self.rank = self.draw.choice(self.victims)
        self.after_s = self.draw.uniform(self.least_s, self.most_s)
        pids = self._wait_for_training(living)
        self._segments = set().union(*map(segments, pids.values()))
        time.sleep(self.after_s)
        living_still = self.rank in pids and f"{RANK}{self.rank}" in environment(pids[self.rank])
        self.killed = bool(living_still and send(signal.SIGKILL, [pids[self.rank]]))

    def _wait_for_training(self, living: Callable[[], list[int]], limit_s: float = 60.0) -> dict[int, int]:
        deadline = time.monotonic() + limit_s
        while not (self.run_dir / "metrics.jsonl").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        return by_rank(living())

    def clean(self) -> None:
        """Remove what ranks that were killed have left in shared memory."""
        for path in self._segments:
            path.unlink(missing_ok=True)
