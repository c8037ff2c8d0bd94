"""Start runs of dbmpi and wait for their summaries: shared by the scripts that measure whole runs."""

import json
import subprocess
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from scripts import processes

TIMEOUT_S = 300
AS_ROOT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
OPEN_MPI = "--oversubscribe --bind-to none --mca pml ob1 --mca btl self,sm,tcp".split()
REPLICAS = ["cluster.shards=1", "cluster.replicas=2", "cluster.partitions=1"]
RANKS = 4  # of REPLICAS, with the coordinator


def layers(hidden: Sequence[int], outputs: int, activation: str = "relu") -> str:
    """Return the setting of fully connected layers, and what the hidden ones apply."""
    below = [f'{{type="dense", units={units}, activation="{activation}"}}' for units in hidden]
    return "model.layers=[" + ", ".join([*below, f'{{type="dense", units={outputs}}}']) + "]"


def random_data(
    path: Path, rows: int, shape: Sequence[int] = (28, 28), classes: int = 10, compressed: bool = False
) -> None:
    """Write random bytes of a shape, that of MNIST if none is given, and labels that name every class."""
    import h5py
    import numpy as np

    rng = np.random.default_rng(1)
    with h5py.File(path, "w") as out:
        for name, count in (("train", rows), ("test", 100)):
            group = out.create_group(name)
            x = rng.integers(0, 256, (count, *shape), np.uint8)
            group.create_dataset(
                "x", data=x, **({"chunks": True, "compression": "gzip"} if compressed else {})
            )
            group["y"] = rng.integers(0, classes, count)
            group["y"][0] = classes - 1


def train(
    ranks: int,
    run_dir: Path,
    settings: Sequence[str],
    timeout_s: float = TIMEOUT_S,
    good: Collection[int] = (0,),
    program: Sequence[str] = ("-m", "dbmpi.train"),
) -> dict[str, Any]:
    """Train once on `ranks` processes, 1 being serial, and return what summary.json says.

    Raises
    ------
    SystemExit
        The run ends with another status than the `good` ones; the text is what it said.
        So it does if it takes longer than `timeout_s` seconds; no process of it is left.
    """
    command = [*launch(ranks), sys.executable, *program, "--run-dir", str(run_dir), "--set", *settings]
    done = processes.run(command, timeout_s=timeout_s, env=AS_ROOT)
    if done.timed_out or done.status not in good:
        raise SystemExit(str(done))
    return json.loads((run_dir / "summary.json").read_text())


def launch(ranks: int) -> list[str]:
    """Return the words that start so many ranks on this machine; none for one process."""
    launcher = Path(sys.executable).with_name("mpirun")
    if ranks == 1:
        return []
    return [str(launcher), "-n", str(ranks), *(OPEN_MPI if is_open_mpi(launcher) else [])]


def is_open_mpi(launcher: Path) -> bool:
    """Return whether `launcher` is Open MPI's, which needs options on a small machine."""
    said = subprocess.run([launcher, "--version"], capture_output=True, text=True, timeout=TIMEOUT_S).stdout
    return "Open MPI" in said or "prte" in said.lower()
