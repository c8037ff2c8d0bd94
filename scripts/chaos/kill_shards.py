"""Kill a shard at a random time, again and again: `kill_shards [N] [--seed S] [--mirror-s T]` (N = 10).

N runs of each algorithm on the embedded digits under `mpirun --with-ft ulfm` (Open MPI), with 2 and with 3
shards in turn; those of Downpour are mirrored every T seconds. A run is good if it ends with status 0, names
the shard that takes over, and leaves model.h5 and whole checkpoints and no process behind. Downpour's comes
within 1.5 points of the accuracy of the undisturbed run (20 of these lay within 1.1 of one another), has done
as many minibatches, and its mirror was not older than the interval and what its transfer takes. Sandblaster's
has the losses of the undisturbed run, iteration by iteration, and its last mirror is of the iteration under
way or the one before. Prints a line a run; the status is 1 if a run was not good. About 10 s a run.
"""

import random
import tempfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from dbmpi.checkpoint import manifest, resume
from dbmpi.checkpoint.directory import under_construction
from scripts import dispatch
from scripts.chaos.kill_replicas import ALGORITHMS, Run, counted_once, launch
from scripts.chaos.victims import Killer

TOLERANCE = 0.015  # of the accuracy
TRANSFER_S = 0.5  # of a mirror, on a machine that is busy; and until a death is known
SHAPES = {2: (6, 1), 3: (8, 2)}  # shards: ranks, of 1 coordinator + shards + replicas; partitions


@dataclass(frozen=True)
class Trial:
    """What is tried: the algorithm, the shape, and how often shards are mirrored."""

    algorithm: str
    shards: int
    mirror_s: float

    def run(self, run_dir: Path, killer: Killer | None) -> Run:
        """Run once."""
        ranks, partitions = SHAPES[self.shards]
        settings = [
            f"cluster.shards={self.shards}",
            f"cluster.partitions={partitions}",
            "checkpoint.every_s=1",
            *ALGORITHMS[self.algorithm],
            f"checkpoint.mirror_s={self.mirror_s}",
        ]
        return launch(ranks, settings, run_dir, killer)


def faults(run: Run, calm: Run, trial: Trial, run_dir: Path) -> list[str]:
    """Return what is wrong with a run."""
    if run.done.timed_out or run.done.status:
        return ["hangs" if run.done.timed_out else f"status {run.done.status}"]
    found = list(resume.whole(run_dir))
    died = deaths(run)
    checks = {
        "processes left": not run.done.survivors,
        "accuracy": run.summary["test_accuracy"] >= calm.summary["test_accuracy"] - TOLERANCE,
        "losses" if calm.losses else "minibatches": counted_once(once(run), calm),
        "no model": (run_dir / "model.h5").exists(),
        "checkpoints": bool(found) and all(isinstance(one, manifest.Checkpoint) for one in found),
        "parts left": not under_construction(run_dir),
        "deaths": len(died) == 1,
        "age": bool(calm.losses) or died[0]["mirror_age_s"] < trial.mirror_s + TRANSFER_S,
        "went back": max(gone_back(run), default=0) <= 1,
    }
    return [name for name, holds in checks.items() if not holds]


def deaths(run: Run) -> list[dict[str, Any]]:
    """Return the events that tell of a shard's death."""
    return [record for record in run.of("event") if "heir" in record]


def once(run: Run) -> Run:
    """Return a run with the last record alone of each iteration, which was done again after a death."""
    last = {record["iteration"]: record for record in run.of("iteration")}
    others = [record for record in run.records if record["kind"] != "iteration"]
    return Run(run.done, others + [last[number] for number in sorted(last)], run.summary)


def gone_back(run: Run) -> list[int]:
    """Return by how many iterations a run went back, each time."""
    numbers = [record["iteration"] for record in run.of("iteration")]
    return [before - after for before, after in pairwise(numbers) if after <= before]


def describe(run: Run, trial: Trial) -> str:
    """Return the figures of a run."""
    if not run.summary:
        return f"no summary after {run.done.wall_s:.1f} s"
    text = f"status {run.done.status}, accuracy {run.summary['test_accuracy']:.2%}"
    rate = run.summary["updates"] / run.summary["train_s"]
    text += "".join(f", {back} iterations back" for back in gone_back(run))
    for death in (one for one in deaths(run) if "updates_lost" in one):
        text += (
            f", mirror {death['mirror_age_s']:.2f} s old, {death['updates_lost']} updates lost "
            f"(an interval has about {rate * trial.mirror_s:.0f})"
        )
    return f"{text}, {run.summary['train_s']:.1f} of {run.done.wall_s:.1f} s"


def series(algorithm: str, kills: int, mirror_s: float, draw: random.Random, folder: Path) -> int:
    """Make the runs of one algorithm, and print a line for each; return how many were not good."""
    trials = [Trial(algorithm, shards, mirror_s) for shards in SHAPES]
    calm = {trial: trial.run(folder / f"{algorithm}-calm-{trial.shards}", None) for trial in trials}
    for trial, run in calm.items():
        print(f"{algorithm}, {trial.shards} shards, undisturbed: {describe(run, trial)}", flush=True)
    bad = count = late = 0
    while count < kills:
        trial = trials[count % len(trials)]
        run_dir = folder / f"{algorithm}-{trial.shards}-{count}-{late}"
        victims = list(range(1, 1 + trial.shards))
        killer = Killer(run_dir, victims, calm[trial].summary["train_s"], draw)
        run = trial.run(run_dir, killer)
        killer.clean()
        if run.done.status == 0 and not deaths(run):
            late += 1
            continue
        count += 1
        wrong = faults(run, calm[trial], trial, run_dir)
        bad += bool(wrong)
        where = f"{trial.shards} shards, rank {killer.rank} killed after {killer.after_s:.2f} s"
        print(f"{count:3}  {where}: {', '.join(wrong) or 'good'}; {describe(run, trial)}", flush=True)
        if wrong:
            print(run.done, flush=True)
    print(f"{algorithm}: {kills - bad} of {kills} runs good; {late} more kills came too late", flush=True)
    return bad


def main(arguments: list[str]) -> int:
    """Read the command line, and run."""
    parser = dispatch.parser(__name__, __doc__)
    parser.add_argument("kills", nargs="?", type=int, default=10, help="runs of each algorithm")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--mirror-s", type=float, default=0.5, help="checkpoint.mirror_s")
    given = parser.parse_args(arguments)
    draw = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as name:
        bad = [series(each, given.kills, given.mirror_s, draw, Path(name)) for each in ALGORITHMS]
    return 1 if any(bad) else 0
