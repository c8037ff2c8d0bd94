"""Measure Sandblaster: `sandblaster [--iterations 16] [--data FILE]`.

1. The coordinator's share of an iteration: vector operations on the shard and bookkeeping, once the history
   is full.
2. Passes of 4 replicas of which one is 8 times slower, with and without backup copies, beside passes of 3
   equal replicas and of 4. Once as the cores of this machine allow, and once paced: every minibatch is made
   to last 20 ms by sleeping, and so does not depend on the number of cores. The table gives the median time
   of a pass, and its ratio to that without the slow replica.

784-512-512-10, one thread a rank. Without --data the examples are random bytes of MNIST's shape: they cost
what real ones cost. Wants an MPI in this Python's environment.
"""

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scripts import dispatch
from scripts.training_runs import layers, random_data, train

AS_A_RANK = [str(Path(__file__).resolve().parent), "sandblaster", "--be-a-rank"]
ROWS = 60_000
HISTORY = 10
PACE_S = 0.02
FACTOR = 8
SETTINGS = [
    layers([512, 512], 10),
    'train.algorithm="sandblaster"',
    "train.minibatch=250",
    "cluster.shards=1",
    "cluster.partitions=1",
    "cluster.threads=1",
    "evaluation.every_epochs=0",
    "output.progress=none",
    f"sandblaster.history={HISTORY}",
    "sandblaster.gradient_tolerance=0",
    "sandblaster.decrease_tolerance=0",
]
CASES = {  # replicas, whether the last is slow, settings
    "3 replicas": (3, False, []),
    "4 replicas": (4, False, []),
    "4, one slow, backup copies": (4, True, []),
    "4, one slow, without": (4, True, ["sandblaster.backup=false"]),
}


def slowed(compute: Callable[..., Any], factor: float, pace_s: float) -> Callable[..., Any]:
    """Let every call last `factor` times as long, or as `pace_s` where that is longer, asleep the while."""

    def instead(*arguments: Any) -> Any:
        start = time.monotonic()
        result = compute(*arguments)
        busy = time.monotonic() - start
        time.sleep(max(0.0, factor * max(busy, pace_s) - busy))
        return result

    return instead


def be_a_rank(slow_rank: int, pace_s: float, arguments: list[str]) -> int:
    """Train as one rank of many, slowly if it is the one."""
    from dbmpi import train
    from dbmpi.run import launch

    os.environ.update(launch.thread_environment(1))  # before the libraries load, as the program does
    from dbmpi.model.partition import PartitionModel

    factor = FACTOR if launch.env_rank(os.environ) == slow_rank else 1
    PartitionModel.differentiate = slowed(  # type: ignore[method-assign]
        PartitionModel.differentiate, factor, pace_s
    )
    return train.main(arguments)


def iterations_of(run_dir: Path) -> list[dict[str, Any]]:
    """Return the records of a run's iterations, after the first passes, which read the data."""
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == "iteration" and line["iteration"] > 1]


def run(folder: Path, replicas: int, settings: list[str], slow_rank: int, pace_s: float) -> Path:
    """Train once, and return the run directory."""
    run_dir = Path(tempfile.mkdtemp(dir=folder))
    program = [*AS_A_RANK, str(slow_rank), str(pace_s)]
    train(2 + replicas, run_dir, [*SETTINGS, f"cluster.replicas={replicas}", *settings], program=program)
    return run_dir


def pass_s(records: list[dict[str, Any]]) -> float:
    """Return the median time of a pass, in seconds."""
    return statistics.median(record["passes_s"] / record["evaluations"] for record in records)


def show_backup(folder: Path, settings: list[str], pace_s: float) -> None:
    """Print the table of passes with and without a slow replica."""
    print(f"\npaced to {pace_s * 1000:g} ms a minibatch:" if pace_s else "\non the cores there are:")
    alone = 0.0
    for name, (replicas, slow, more) in CASES.items():
        run_dir = run(folder, replicas, [*settings, *more], 1 + replicas if slow else -1, pace_s)
        seconds = pass_s(iterations_of(run_dir))
        alone = alone or seconds
        said = json.loads((run_dir / "summary.json").read_text())
        copies = f"copies {said['copies']}, used {said['copies_used']}"
        print(f"{name:30}{seconds:8.3f} s a pass {seconds / alone:6.2f} x 3 replicas   {copies}")


def show_share(folder: Path, settings: list[str]) -> None:
    """Print the coordinator's share of an iteration."""
    records = iterations_of(run(folder, 2, settings, -1, 0.0))
    full = [record for record in records if record["iteration"] > HISTORY]
    parts = ("passes_s", "commands_s", "bookkeeping_s")
    sums = {name: sum(record[name] for record in full) for name in parts}
    whole = sum(sums.values())
    print("\n2 replicas, with a full history of 10 pairs, of an iteration:")
    for name, seconds in sums.items():
        print(f"{name:16}{seconds / len(full) * 1000:10.1f} ms {seconds / whole:8.2%}")


def main(arguments: list[str]) -> int:
    """Read the command line, and print the tables; or be a rank of such a run."""
    if arguments[:1] == AS_A_RANK[-1:]:
        return be_a_rank(int(arguments[1]), float(arguments[2]), arguments[3:])
    parser = dispatch.parser(__name__, __doc__)
    parser.add_argument("--iterations", type=int, default=16, help="of each run (default 16; above 11)")
    parser.add_argument("--data", type=Path, help="an HDF5 file of 784 inputs and 10 classes")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = given.data.absolute() if given.data else folder / "random.h5"
        if not given.data:
            random_data(data, ROWS)
        settings = [f"data.path={json.dumps(str(data))}", f"sandblaster.iterations={given.iterations}"]
        print("784-512-512-10, minibatch 250, 1 coordinator + 1 shard")
        show_share(folder, settings)
        for pace_s in (0.0, PACE_S):
            show_backup(folder, settings, pace_s)
    return 0
