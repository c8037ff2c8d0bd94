"""Pause a job, or some of its ranks, from outside, and let it go on. Standard library only."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from scripts.chaos.victims import by_rank
from scripts.processes import stopped

LIMIT_S = 60.0  # for training to begin


@dataclass
class Pauser:
    """Stops ranks once something is in metrics.jsonl, and wakes them; for `during` of `processes.run`.

    Parameters
    ----------
    run_dir
        The run's directory.
    pause_s
        How long they stand still, in seconds.
    ranks
        World ranks; None for all processes of the job, launcher included.
    after
        What has to be in metrics.jsonl; that file appears when training begins.

    Attributes
    ----------
    paused, left
        The processes that were stopped, and those of them that were there to be woken.
    metrics
        What was in metrics.jsonl just before they were woken.
    """

    run_dir: Path
    pause_s: float
    ranks: Sequence[int] | None = None
    after: bytes = b""
    paused: list[int] = field(default_factory=list)
    left: list[int] = field(default_factory=list)
    metrics: bytes = b""

    def __call__(self, living: Callable[[], list[int]]) -> None:
        """Wait, stop, wait, and wake."""
        deadline = time.monotonic() + LIMIT_S
        while not self._begun() and time.monotonic() < deadline:
            time.sleep(0.01)
        pids = living()
        found = by_rank(pids)
        self.paused = pids if self.ranks is None else [found[rank] for rank in self.ranks if rank in found]
        with stopped(self.paused) as self.left:
            time.sleep(self.pause_s)
            self._begun()

    def _begun(self) -> bool:
        """Look into metrics.jsonl; return whether what has to be there is."""
        path = self.run_dir / "metrics.jsonl"
        if path.exists():
            self.metrics = path.read_bytes()
        return path.exists() and self.after in self.metrics
