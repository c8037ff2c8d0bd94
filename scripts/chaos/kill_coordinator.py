"""Kill the coordinator at a random time, again and again: `kill_coordinator [N] [--seed S]` (N = 10).

N runs of each algorithm on the embedded digits under `mpirun --with-ft ulfm` (Open MPI), with 1 and with 3
shards in turn. A run is good if it ends with status 85, one message and no process behind, if
its checkpoints are whole, and if the same command then goes on to an end that is as good as that of an
undisturbed run: Downpour within 1.5 points of its accuracy, with as many minibatches; Sandblaster with its
loss in every iteration. Prints a line a run; the status is 1 if a run was not good. About 15 s a run.
"""

import random
import tempfile
from pathlib import Path

from dbmpi.checkpoint import manifest, resume
from dbmpi.errors import STATUS_STOPPED
from scripts import dispatch
from scripts.chaos.kill_replicas import ALGORITHMS, Run, counted_once, launch
from scripts.chaos.kill_shards import TOLERANCE, once
from scripts.chaos.victims import Killer

SHAPES = {1: 5, 3: 7}  # shards: ranks, of 1 coordinator + shards + 3 replicas
MIRROR_S = 0.2
SETTINGS = [f"checkpoint.mirror_s={MIRROR_S}", "checkpoint.every_s=1"]
EARLIEST_S = 3 * MIRROR_S  # before that the shards may not have the state of the coordinator


def run_once(algorithm: str, shards: int, run_dir: Path, killer: Killer | None) -> Run:
    """Run one shape of an algorithm once."""
    settings = [f"cluster.shards={shards}", "cluster.partitions=1", *SETTINGS, *ALGORITHMS[algorithm]]
    return launch(SHAPES[shards], settings, run_dir, killer)


def faults(ended: Run, resumed: Run, calm: Run, run_dir: Path) -> list[str]:
    """Return what is wrong with a run, and with the one that went on from it."""
    found = list(resume.whole(run_dir))
    said = [line for line in ended.done.err.splitlines() if "dbmpi: rank" in line]
    checks = {
        f"status {ended.done.status}": ended.done.status == STATUS_STOPPED,
        "hangs": not ended.done.timed_out,
        "processes left": not ended.done.survivors and not resumed.done.survivors,
        f"{len(said)} messages": len(said) == 1,
        "damaged": bool(found) and all(isinstance(one, manifest.Checkpoint) for one in found),
        f"then status {resumed.done.status}": resumed.done.status == 0,
    }
    if resumed.done.status == 0:
        worse = calm.summary["test_accuracy"] - resumed.summary["test_accuracy"]
        checks["accuracy"] = worse <= TOLERANCE
        if calm.losses:
            checks["losses"] = counted_once(once(resumed), calm)
        else:
            checks["minibatches"] = resumed.summary["steps"] == calm.summary["steps"]
    return [name for name, holds in checks.items() if not holds]


def series(algorithm: str, kills: int, draw: random.Random, folder: Path) -> int:
    """Make the runs of one algorithm, and print a line for each; return how many were not good."""
    calm = {shards: run_once(algorithm, shards, folder / f"{algorithm}-{shards}", None) for shards in SHAPES}
    bad = count = late = 0
    while count < kills:
        shards = list(SHAPES)[count % len(SHAPES)]
        run_dir = folder / f"{algorithm}-{count}-{late}"
        killer = Killer(run_dir, [0], calm[shards].summary["train_s"], draw, least_s=EARLIEST_S)
        ended = run_once(algorithm, shards, run_dir, killer)
        killer.clean()
        if ended.done.status == 0:
            late += 1
            continue
        count += 1
        resumed = run_once(algorithm, shards, run_dir, None)
        wrong = faults(ended, resumed, calm[shards], run_dir)
        bad += bool(wrong)
        where = f"{algorithm}, {shards} shards, killed after {killer.after_s:.2f} s"
        print(f"{count:3}  {where}: {', '.join(wrong) or 'good'}", flush=True)
        if wrong:
            print(ended.done, resumed.done, flush=True)
    print(f"{algorithm}: {kills - bad} of {kills} runs good; {late} more kills came too late", flush=True)
    return bad


def main(arguments: list[str]) -> int:
    """Read the command line, and run."""
    parser = dispatch.parser(__name__, __doc__)
    parser.add_argument("kills", nargs="?", type=int, default=10, help="runs of each algorithm")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    draw = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as name:
        bad = [series(each, given.kills, draw, Path(name)) for each in ALGORITHMS]
    return 1 if any(bad) else 0
