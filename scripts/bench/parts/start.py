"""Start of 64 ranks: from the launch to the first minibatch, beside importing the libraries and a barrier.

The first minibatch is there when its record is in metrics.jsonl. A process then ends the run: nothing after
it counts.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from scripts import processes
from scripts.bench import runs
from scripts.bench.core import Aim, Group, Options, Row
from scripts.training_runs import AS_ROOT, launch

RANKS = 64
LIMIT_S = 300
POLL_S = 0.02
LIBRARIES = "import numpy, numba, h5py; from mpi4py import MPI; MPI.COMM_WORLD.Barrier()"
SETTINGS = ["output.every_s=1e-6", "output.progress=none", "train.portion=1"]


def groups(options: Options) -> Iterator[Group]:
    """Yield the start of the program and of the libraries, in turns."""
    turns = {"dbmpi": lambda: first_minibatch_s(options.folder), "libraries": libraries_s}
    row = Row(
        f"{RANKS} ranks, to the first minibatch", "dbmpi", "s", ("libraries",), Aim(at_most=1.3), lower=True
    )
    yield Group("start", turns, [row])


def first_minibatch_s(folder: Path) -> float:
    """Start the digits on all ranks; return the seconds until a minibatch is recorded, and end the run."""
    with tempfile.TemporaryDirectory(dir=folder) as run_dir:
        records, seconds = Path(run_dir) / "metrics.jsonl", list[float]()
        started = time.monotonic()

        def watch(living: Callable[[], list[int]]) -> None:
            while time.monotonic() - started < LIMIT_S and not recorded(records):
                time.sleep(POLL_S)
            seconds.append(time.monotonic() - started)
            processes.kill_all(living, LIMIT_S)

        command = [*launch(RANKS), sys.executable, *runs.PROGRAM, "--run-dir", run_dir, "--set", *SETTINGS]
        done = processes.run(command, timeout_s=2 * LIMIT_S, env=AS_ROOT, during=watch)
        if not recorded(records):
            raise RuntimeError(str(done))
    return seconds[0]


def recorded(file: Path) -> bool:
    """Whether something has been learned."""
    lines = file.read_text().splitlines() if file.exists() else []
    return any(json.loads(line)["kind"] == "train" for line in lines if line.endswith("}"))


def libraries_s() -> float:
    """Return the seconds in which so many ranks load the libraries and meet."""
    command = [*launch(RANKS), sys.executable, "-c", LIBRARIES]
    done = processes.run(command, timeout_s=LIMIT_S, env=AS_ROOT)
    if done.status != 0:
        raise RuntimeError(str(done))
    return done.wall_s
