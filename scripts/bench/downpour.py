"""Measure Downpour against serial training: `downpour [--rounds 3] [--data FILE]`.

Serial, then 1 coordinator + 1 shard + 2 replicas, one thread each, with n_fetch = n_push = 1 and with 4, and
with 1 where each fetch is waited for, in turns; the table gives the median examples/s of each and its ratio
to serial. Without --data the examples are random bytes of MNIST's shape: they cost what real ones cost. Wants
a machine with two free cores, and an MPI in this Python's environment.
"""

import json
import statistics
import tempfile
from pathlib import Path

from scripts import dispatch
from scripts.training_runs import RANKS, REPLICAS, layers, random_data, train

ROWS = 30_000
SETTINGS = [
    layers([512, 512], 10),
    "train.minibatch=100",
    "cluster.threads=1",
    "evaluation.every_epochs=0",
    "output.progress=none",
]


def examples_per_s(ranks: int, folder: Path, data: Path, settings: list[str]) -> float:
    """Train once on `ranks` processes, 1 being serial, and return the examples per second."""
    run_dir = Path(tempfile.mkdtemp(dir=folder))
    options = [f"data.path={json.dumps(str(data))}", *SETTINGS, *settings]
    return float(train(ranks, run_dir, options)["examples_per_s"])


def main(arguments: list[str]) -> None:
    """Read the command line, and print the table."""
    parser = dispatch.parser(__name__, __doc__)
    parser.add_argument("--rounds", type=int, default=3, help="turns of each (default 3)")
    parser.add_argument("--epochs", type=float, default=4, help="epochs of each run (default 4)")
    parser.add_argument("--data", type=Path, help="an HDF5 file of 784 inputs and 10 classes")
    given = parser.parse_args(arguments)
    epochs = f"train.epochs={given.epochs}"
    cases = {
        "serial": (1, [epochs]),
        "n_fetch = n_push = 1": (RANKS, [epochs, *REPLICAS, "downpour.overlap=true"]),
        "  each fetch awaited": (RANKS, [epochs, *REPLICAS, "downpour.overlap=false"]),
        "n_fetch = n_push = 4": (RANKS, [epochs, *REPLICAS, "downpour.n_fetch=4", "downpour.n_push=4"]),
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = given.data.absolute() if given.data else folder / "random.h5"
        if not given.data:
            random_data(data, ROWS)
        seen: dict[str, list[float]] = {case: [] for case in cases}
        for _ in range(given.rounds):
            for case, (ranks, settings) in cases.items():
                seen[case].append(examples_per_s(ranks, folder, data, settings))
    serial = statistics.median(seen["serial"])
    print("784-512-512-10, minibatch 100: 2 replicas + 1 shard + 1 coordinator against serial")
    for case, rates in seen.items():
        middle = statistics.median(rates)
        print(f"{case:22}{middle:10,.0f} examples/s   {middle / serial:5.2f} x serial")
