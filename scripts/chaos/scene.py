"""The moment at which something befalls a run: whom it meets, when, and how far the run was."""

import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from scripts import processes
from scripts.chaos.shapes import Shape
from scripts.chaos.victims import by_rank, segments

THERE_S = 30.0  # until all ranks of a job are there
LONGEST_S = 100.0  # of training
RECORDED_S = 0.2  # how often a run tells how far it is
BLUR_S = 0.3  # what is this close to the border of two phases is promised what either is


@dataclass
class Scene:
    """A run while it goes on; for `during` of `processes.run`.

    Parameters
    ----------
    run_dir, shape
        The run.
    victims
        Ranks, in the order in which they are met.
    after_s
        Seconds from the launch.
    gap_s
        From one victim to the next.
    timeout_s
        The deadline of the run (`cluster.timeout_s`).
    draw
        Where further chance comes from.
    act
        What befalls it.
    share, done
        Wait, after that, until this share of the training is done; and what tells how much is.

    Attributes
    ----------
    phases
        "launch" before training begins, "training", "end" once the summary is there, "over" when the run
        was no more: those that it was in.
    hit_s, began_s
        When that was, and when training began: seconds from the launch; None where it was not seen.
    notes
        What is worth a word in the line of the try.
    undo
        What to call once the first job has ended.
    """

    run_dir: Path
    shape: Shape
    victims: list[int]
    after_s: float
    gap_s: float
    timeout_s: float
    draw: random.Random
    act: Callable[["Scene"], None]
    share: float = 0.0
    done: Callable[[], float] = float
    phases: list[str] = field(default_factory=list)
    hit_s: float | None = None
    began_s: float | None = None
    notes: list[str] = field(default_factory=list)
    undo: list[Callable[[], None]] = field(default_factory=list)
    _left: set[Path] = field(default_factory=set)

    def __call__(self, living: Callable[[], list[int]]) -> None:
        """Wait for the moment, and let it happen."""
        self.living, self._launched = living, time.monotonic()
        self._sleep_until(self.after_s)
        self._wait_for_share()
        while self._early and self.now_s < self.after_s + THERE_S:
            self.wait(0.02)
        self.meet()
        if self.phases != ["over"]:
            self._left = set().union(*map(segments, self.pids.values()))
            self.act(self)

    def _wait_for_share(self) -> None:
        """Wait until so much of the training is done, if the run comes so far."""
        deadline = self.now_s + LONGEST_S
        while self.done() < self.share and self.living() and self.now_s < deadline:
            self.wait(0.05)
        if self.share:
            self.wait(self.draw.uniform(0.0, RECORDED_S))

    @property
    def _early(self) -> bool:
        """Whether some of the victims are not there yet."""
        return self._phase() == "launch" and not set(self.victims) <= set(self.pids)

    def meet(self) -> None:
        """Note that this is the moment, and how far the run is."""
        self.hit_s, self.phases = self.now_s, [self._phase()]

    @property
    def now_s(self) -> float:
        """Seconds since the launch."""
        return time.monotonic() - self._launched

    @property
    def pids(self) -> dict[int, int]:
        """The process ids of the ranks that live."""
        return by_rank(self.living())

    @property
    def met(self) -> list[int]:
        """The process ids of the victims that live; where it meets nobody in particular, all of the job."""
        found = self.pids
        return [found[rank] for rank in self.victims if rank in found] if self.victims else self.living()

    def send(self, rank: int, number: signal.Signals) -> None:
        """Send a rank a signal, if it lives."""
        processes.send(number, [pid for one, pid in self.pids.items() if one == rank])

    def wait(self, seconds: float) -> None:
        """Let the run go on for so long, and look at it meanwhile."""
        self._sleep_until(self.now_s + seconds)

    def settle(self) -> None:
        """Note how far the run is a moment after it was met."""
        self.wait(BLUR_S)
        self._note_phase()

    def clean(self) -> None:
        """Undo what was made for the run, and remove what killed ranks have left in shared memory."""
        for undo in self.undo:
            undo()
        for path in self._left:
            path.unlink(missing_ok=True)

    def _sleep_until(self, moment_s: float) -> None:
        while True:
            if self.began_s is None and self._begun:
                self.began_s = self.now_s
            left_s = moment_s - self.now_s
            if left_s <= 0:
                return
            time.sleep(min(left_s, 0.01))

    @property
    def _begun(self) -> bool:
        path = self.run_dir / "metrics.jsonl"
        return path.exists() and path.stat().st_size > 0

    def _note_phase(self) -> None:
        phase = self._phase()
        if phase not in self.phases:
            self.phases.append(phase)

    def _phase(self) -> str:
        if not self.living():
            return "over"
        if (self.run_dir / "summary.json").exists():
            return "end"
        return "training" if self._begun else "launch"
