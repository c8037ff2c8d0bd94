"""Start runs of dbmpi and wait for their summaries: shared by the scripts that measure whole runs."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

TIMEOUT_S = 300
OPEN_MPI = "--oversubscribe --bind-to none --mca pml ob1 --mca btl self,sm,tcp".split()
REPLICAS = ["cluster.shards=1", "cluster.replicas=2", "cluster.partitions=1"]
RANKS = 4  # of REPLICAS, with the coordinator


def layers(hidden: Sequence[int], outputs: int) -> str:
    """Return the setting of fully connected layers, the hidden ones relu."""
    below = [f'{{type="dense", units={units}, activation="relu"}}' for units in hidden]
    return "model.layers=[" + ", ".join([*below, f'{{type="dense", units={outputs}}}']) + "]"


def random_data(path: Path, rows: int) -> None:
    """Write random bytes in the shape of MNIST."""
    import h5py
    import numpy as np

    rng = np.random.default_rng(1)
    with h5py.File(path, "w") as out:
        for name, count in (("train", rows), ("test", 100)):
            group = out.create_group(name)
            group["x"] = rng.integers(0, 256, (count, 28, 28), np.uint8)
            group["y"] = rng.integers(0, 10, count)


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
    subprocess.TimeoutExpired
        It takes longer than `timeout_s` seconds.
    """
    environment = os.environ | {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    launcher = Path(sys.executable).with_name("mpirun")
    flags = OPEN_MPI if is_open_mpi(launcher) else []
    start = [str(launcher), "-n", str(ranks), *flags] if ranks > 1 else []
    command = [*start, sys.executable, *program, "--run-dir", str(run_dir), "--set", *settings]
    done = subprocess.run(command, env=environment, timeout=timeout_s, capture_output=True, text=True)
    if done.returncode not in good:
        said = done.stdout + done.stderr
        raise SystemExit(f"{shlex.join(command)}\nended with status {done.returncode}:\n{said}")
    return json.loads((run_dir / "summary.json").read_text())


def is_open_mpi(launcher: Path) -> bool:
    """Return whether `launcher` is Open MPI's, which needs options on a small machine."""
    said = subprocess.run([launcher, "--version"], capture_output=True, text=True, timeout=TIMEOUT_S).stdout
    return "Open MPI" in said or "prte" in said.lower()
