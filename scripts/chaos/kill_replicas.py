"""Kill a replica's rank at a random time, again and again: `kill_replicas [N] [--seed S]` (N = 30).

N runs of each algorithm on the embedded digits, replicas of 1 and of 2 partitions in turn, each under
`mpirun --with-ft ulfm` (Open MPI). A run is good if it ends with status 0, says which replica has left, comes
within a point of the accuracy of the undisturbed run, leaves no process behind, and has counted every portion
exactly once: for Downpour the examples and minibatches of metrics.jsonl are those of the undisturbed run; for
Sandblaster so is the loss of every iteration, which a portion left out or counted twice would change. Prints
a table and a summary; the status is 1 if a run was not good. About 6 s a run.
"""

import json
import random
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts import dispatch, launcher, processes
from scripts.chaos.victims import Killer

FLAGS = "--with-ft ulfm --mca coll ^han --mca mpi_preconnect_mpi 1 --mca mpi_yield_when_idle 1".split()
TIMEOUT_S = 120.0
TOLERANCE = 1e-6  # of a loss: sums depend on their order, a little even in float64
POINT = 0.01
ALGORITHMS = {
    "downpour": ["train.epochs=60"],
    "sandblaster": [
        "train.algorithm=sandblaster",
        "train.minibatch=60",
        "sandblaster.iterations=80",
        "model.l2=0.01",
        "model.dtype=float64",
    ],
}
SHAPES = {1: 6, 2: 7}  # partitions: ranks, of 1 coordinator + 2 shards + 3 or 2 replicas
FIRST = 3  # rank of a replica


@dataclass(frozen=True)
class Run:
    """A run that has ended."""

    done: processes.Finished
    records: list[dict[str, Any]]
    summary: dict[str, Any]

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Return the records of a kind."""
        return [record for record in self.records if record["kind"] == kind]

    @property
    def losses(self) -> list[float]:
        """The loss of each iteration of a batch method."""
        return [record["loss"] for record in self.of("iteration")]


def start(algorithm: str, partitions: int, run_dir: Path, killer: Killer | None) -> Run:
    """Run one shape of an algorithm once, to the end."""
    settings = ["cluster.shards=2", f"cluster.partitions={partitions}", *ALGORITHMS[algorithm]]
    return launch(SHAPES[partitions], settings, run_dir, killer)


def launch(ranks: int, settings: list[str], run_dir: Path, killer: Killer | None) -> Run:
    """Run once, to the end."""
    environment = launcher.this_environment()
    assert environment is not None and environment.mpi == "openmpi", "needs Open MPI"
    mpiexec = environment.mpiexec(ranks)
    command = [mpiexec[0], *FLAGS, *mpiexec[1:], str(environment.python), "-m", "dbmpi.train"]
    command += ["--run-dir", str(run_dir), "--set", *settings]
    env = {"PYTHONPATH": str(launcher.ROOT), **environment.variables()}
    done = processes.run(command, timeout_s=TIMEOUT_S, env=env, cwd=launcher.ROOT, during=killer)
    records, summary = run_dir / "metrics.jsonl", run_dir / "summary.json"
    lines = records.read_text().splitlines() if records.exists() else []
    found = json.loads(summary.read_text()) if summary.exists() else {}
    return Run(done, [json.loads(line) for line in lines], found)


def faults(run: Run, undisturbed: Run, killer: Killer) -> list[str]:
    """Return what is wrong with a run, and how the portions were counted."""
    wrong = []
    if run.done.timed_out or run.done.status:
        return ["hangs" if run.done.timed_out else f"status {run.done.status}"]
    if run.done.survivors:
        wrong.append("processes left")
    if abs(run.summary["test_accuracy"] - undisturbed.summary["test_accuracy"]) > POINT:
        wrong.append("accuracy")
    if not counted_once(run, undisturbed):
        wrong.append("portions")
    if not any(f"rank {killer.rank} died" in record["text"] for record in run.of("event")):
        wrong.append("no event")
    return wrong


def counted_once(run: Run, undisturbed: Run) -> bool:
    """Return whether every portion was counted exactly once."""
    if undisturbed.losses:
        pairs = list(zip(run.losses, undisturbed.losses, strict=False))
        same = all(abs(one - other) <= TOLERANCE * abs(other) for one, other in pairs)
        return same and len(run.losses) == len(undisturbed.losses)
    return all(run.summary[name] == undisturbed.summary[name] for name in ("steps", "examples"))


def series(algorithm: str, kills: int, draw: random.Random, folder: Path) -> int:
    """Make the runs of one algorithm, and print a line for each; return how many were not good."""
    calm = {p: start(algorithm, p, folder / f"{algorithm}-{p}", None) for p in SHAPES}
    for p, run in calm.items():
        print(f"{algorithm}, P = {p}, undisturbed: {describe(run, run)}", flush=True)
    bad = count = late = 0
    while count < kills:
        partitions = 1 + count % len(SHAPES)
        run_dir = folder / f"{algorithm}-{partitions}-{count}-{late}"
        run, killer = disturbed(algorithm, partitions, calm[partitions], draw, run_dir)
        where = f"{algorithm}, P = {partitions}, rank {killer.rank} killed after {killer.after_s:.2f} s"
        wrong = faults(run, calm[partitions], killer)
        if came_too_late(run, killer):
            late += 1
            continue
        count += 1
        bad += bool(wrong)
        judged = ", ".join(wrong) or "good"
        print(f"{count:3}  {where}: {judged}; {describe(run, calm[partitions])}", flush=True)
        if wrong:
            print(run.done, flush=True)
    print(f"{algorithm}: {kills - bad} of {kills} runs good; {late} more kills came too late\n", flush=True)
    return bad


def disturbed(
    algorithm: str, partitions: int, calm: Run, draw: random.Random, run_dir: Path
) -> tuple[Run, Killer]:
    """Run once, and kill a rank on the way."""
    victims = list(range(FIRST, SHAPES[partitions]))
    killer = Killer(run_dir, victims, calm.summary["train_s"], draw)
    run = start(algorithm, partitions, run_dir, killer)
    killer.clean()
    return run, killer


def came_too_late(run: Run, killer: Killer) -> bool:
    """Return whether the run had ended well, or was leaving, when its rank was to be killed."""
    ended = run.summary.get("status") == 0 and run.done.status == 0
    return ended and not any(record["text"].startswith("replica") for record in run.of("event"))


def describe(run: Run, calm: Run) -> str:
    """Return the figures of a run."""
    if not run.summary:
        return f"no summary after {run.done.wall_s:.1f} s"
    once = "once" if counted_once(run, calm) else "NOT ONCE"
    return (
        f"status {run.done.status}, accuracy {run.summary['test_accuracy']:.2%}, portions counted {once}, "
        f"{run.summary['train_s']:.1f} of {run.done.wall_s:.1f} s"
    )


def main(arguments: list[str]) -> int:
    """Read the command line, and run."""
    parser = dispatch.parser(__name__, __doc__)
    parser.add_argument("kills", nargs="?", type=int, default=30, help="runs of each algorithm")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--algorithm", choices=ALGORITHMS, action="append")
    given = parser.parse_args(arguments)
    draw = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as name:
        bad = [series(each, given.kills, draw, Path(name)) for each in given.algorithm or ALGORITHMS]
    return 1 if any(bad) else 0
