"""Kill a rank that writes a checkpoint, again and again: `kill_writers [N] [--seed S]` (N = 20).

N runs on the embedded digits, of 1 coordinator + 2 shards + 2 replicas, Downpour and Sandblaster in turn,
with a checkpoint five times a second. Some time after the first is whole, the coordinator or a shard is
killed (SIGKILL) while another is under construction. A run is good if there is a whole checkpoint, and the
same command, in one process, goes on from the newest whole one. The status is 1 if one was not good. About
8 s a run.
"""

import os
import random
import signal
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dbmpi.checkpoint import manifest, resume
from dbmpi.checkpoint.directory import checkpoint_numbers, under_construction
from scripts import dispatch, launcher, processes
from scripts.chaos.victims import by_rank, segments

TIMEOUT_S, RANKS, LONGEST_WRITE_S = 120.0, 5, 0.02
SETTINGS = ["cluster.shards=2", "checkpoint.every_s=0.2", "output.progress=none", "evaluation.every_epochs=0"]
ALGORITHMS = {
    "downpour": ["train.epochs=3000"],
    "sandblaster": [
        "train.algorithm=sandblaster",
        "sandblaster.iterations=100000",
        "sandblaster.gradient_tolerance=0",
        "sandblaster.decrease_tolerance=0",
        "train.epochs=none",
    ],
}


@dataclass
class WriterKiller:
    """Kills the coordinator or a shard while a checkpoint is under construction; for `processes.run`."""

    run_dir: Path
    draw: random.Random
    rank: int = -1
    number: int = 0

    def __call__(self, living: Callable[[], list[int]]) -> None:
        """Wait for the moment, and kill."""
        self.rank = self.draw.choice([0, 1, 2])
        deadline = time.monotonic() + TIMEOUT_S / 2
        wanted = self.draw.randint(1, 4)  # so many are whole
        while len(self._whole()) == 0 or max(self._whole()) < wanted:
            if time.monotonic() > deadline:
                return
            time.sleep(0.01)
        pids = by_rank(living())
        left = set().union(*map(segments, pids.values()))
        while not (under := under_construction(self.run_dir)):
            if time.monotonic() > deadline:
                return
        self.number = int(under[0].name.removesuffix(".part"))
        time.sleep(self.draw.uniform(0.0, LONGEST_WRITE_S))
        os.kill(pids[self.rank], signal.SIGKILL)
        for path in left:
            path.unlink(missing_ok=True)

    def _whole(self) -> list[int]:
        return checkpoint_numbers(self.run_dir)


def attempt(
    environment: launcher.Environment, run_dir: Path, settings: list[str], draw: random.Random
) -> str:
    """Make one run, kill it, go on with it; return a line about it, which ends in "good" if all was well."""
    program = [str(environment.python), "-m", "dbmpi.train", "--run-dir", str(run_dir), "--set", *settings]
    changes = {**environment.variables(), "PYTHONPATH": str(launcher.ROOT)}
    killer = WriterKiller(run_dir, draw)
    killed = processes.run(
        [*environment.mpiexec(RANKS), *program], timeout_s=TIMEOUT_S, env=changes, during=killer
    )
    whole = [one.manifest.number for one in resume.whole(run_dir) if isinstance(one, manifest.Checkpoint)]
    unfinished = bool(under_construction(run_dir))
    command = [*program, "cluster.shards=1", "train.max_time=0.5"]
    again = processes.run(command, timeout_s=TIMEOUT_S, env=changes)
    newest = f"goes on from checkpoint {max(whole, default=0)}"
    good = killed.status != 0 and not killed.survivors and bool(whole) and newest in again.out
    good &= again.status in (0, 85)
    return (
        f"rank {killer.rank} killed in checkpoint {killer.number} ({'left' if unfinished else 'made'}), "
        f"whole: {whole}, resumed with status {again.status}: {'good' if good else 'BAD'}"
    )


def main(arguments: list[str]) -> int:
    """Read the command line, and print a line for each run."""
    parser = dispatch.parser(__name__, __doc__)
    parser.add_argument("runs", type=int, nargs="?", default=20, help="number of kills (default 20)")
    parser.add_argument("--seed", type=int, default=1, help="of who is killed, and when (default 1)")
    given = parser.parse_args(arguments)
    environment, draw = launcher.this_environment(), random.Random(given.seed)
    if environment is None:
        raise SystemExit("no mpiexec in this environment or on the PATH")
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        for run in range(given.runs):
            name = list(ALGORITHMS)[run % 2]
            line = attempt(environment, Path(folder) / str(run), [*SETTINGS, *ALGORITHMS[name]], draw)
            print(f"{run + 1:3} {name:11} {line}", flush=True)
            bad += not line.endswith("good")
    print(f"{given.runs - bad} of {given.runs} good")
    return 1 if bad else 0
