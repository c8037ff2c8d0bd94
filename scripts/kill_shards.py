#!/usr/bin/env python3
"""Kill a shard at a random time, again and again: `kill_shards.py [N] [--seed S] [--mirror-s T]` (N = 10).

N runs of Downpour on the embedded digits under `mpirun --with-ft ulfm` (Open MPI), with 2 and with 3 shards
in turn, mirrored every T seconds. A run is good if it ends with status 0, says who goes on for the shard,
comes within 1.5 points of the accuracy of the undisturbed run (20 of these lay within 1.1 of one another),
has done as many minibatches, leaves model.h5 and whole checkpoints and no process behind, and if the mirror
was not older than the interval and what its transfer takes. Prints a line a run; the status is 1 if a run was
not good. About 10 s a run.
"""

import argparse
import random
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from kill_replicas import Run, launch  # noqa: E402  its own directory is searched

from dbmpi import manifest  # noqa: E402  the line above makes it importable from any directory
from tests.system.victims import Killer  # noqa: E402

TOLERANCE = 0.015  # of the accuracy
TRANSFER_S = 0.5  # of a mirror, on a machine that is busy; and until a death is known
SHAPES = {2: (6, 1), 3: (8, 2)}  # shards: ranks, of 1 coordinator + shards + replicas; partitions


@dataclass(frozen=True)
class Trial:
    """What is tried: the shape, and how often shards are mirrored."""

    shards: int
    mirror_s: float

    def run(self, run_dir: Path, killer: Killer | None) -> Run:
        """Run once."""
        ranks, partitions = SHAPES[self.shards]
        settings = [
            f"cluster.shards={self.shards}",
            f"cluster.partitions={partitions}",
            "train.epochs=60",
            "checkpoint.every_s=1",
            f"checkpoint.mirror_s={self.mirror_s}",
        ]
        return launch(ranks, settings, run_dir, killer)


def faults(run: Run, calm: Run, trial: Trial, run_dir: Path) -> list[str]:
    """Return what is wrong with a run."""
    if run.done.timed_out or run.done.status:
        return ["hangs" if run.done.timed_out else f"status {run.done.status}"]
    found = list(manifest.whole(run_dir))
    died = deaths(run)
    checks = {
        "processes left": not run.done.survivors,
        "accuracy": run.summary["test_accuracy"] >= calm.summary["test_accuracy"] - TOLERANCE,
        "minibatches": run.summary["steps"] == calm.summary["steps"],
        "no model": (run_dir / "model.h5").exists(),
        "checkpoints": bool(found) and all(isinstance(one, manifest.Checkpoint) for one in found),
        "parts left": not list((run_dir / manifest.CHECKPOINTS).glob(".*.part")),
        "age": len(died) == 1 and died[0]["mirror_age_s"] < trial.mirror_s + TRANSFER_S,
    }
    return [name for name, holds in checks.items() if not holds]


def deaths(run: Run) -> list[dict[str, Any]]:
    """Return the events that tell of a shard's death."""
    return [record for record in run.of("event") if "heir" in record]


def describe(run: Run, trial: Trial) -> str:
    """Return the figures of a run."""
    if not run.summary:
        return f"no summary after {run.done.wall_s:.1f} s"
    text = f"status {run.done.status}, accuracy {run.summary['test_accuracy']:.2%}"
    rate = run.summary["updates"] / run.summary["train_s"]
    for death in deaths(run):
        text += (
            f", mirror {death['mirror_age_s']:.2f} s old, {death['updates_lost']} updates lost "
            f"(an interval has about {rate * trial.mirror_s:.0f})"
        )
    return f"{text}, {run.summary['train_s']:.1f} of {run.done.wall_s:.1f} s"


def series(kills: int, mirror_s: float, draw: random.Random, folder: Path) -> int:
    """Make the runs, and print a line for each; return how many were not good."""
    trials = [Trial(shards, mirror_s) for shards in SHAPES]
    calm = {trial: trial.run(folder / f"calm-{trial.shards}", None) for trial in trials}
    for trial, run in calm.items():
        print(f"{trial.shards} shards, undisturbed: {describe(run, trial)}", flush=True)
    bad = count = late = 0
    while count < kills:
        trial = trials[count % len(trials)]
        run_dir = folder / f"{trial.shards}-{count}-{late}"
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
    print(f"{kills - bad} of {kills} runs good; {late} more kills came too late", flush=True)
    return bad


def main(arguments: list[str]) -> int:
    """Read the command line, and run."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("kills", nargs="?", type=int, default=10, help="runs")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--mirror-s", type=float, default=0.5, help="checkpoint.mirror_s")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        return 1 if series(given.kills, given.mirror_s, random.Random(given.seed), Path(name)) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
