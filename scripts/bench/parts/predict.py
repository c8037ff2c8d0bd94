"""`python -m dbmpi.predict` on one core beside the forward pass alone, and its memory with a large model.

The rate is that of the command, from the first row to the file that is whole: reading, computing, softmax and
writing every probability. The forward pass alone computes one minibatch in memory again and again. Memory is
the peak of a process that asks a model of a gigabyte (16,000 x 16,000), by the bytes of the model.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path

from dbmpi.run.start.launch import thread_environment
from scripts import processes
from scripts.bench import runs
from scripts.bench.core import Aim, Group, Options, Row
from scripts.launcher import ROOT
from scripts.training_runs import layers

AIM, MOST_MEMORY = Aim(0.8), Aim(at_most=1.3)
LIMIT_S = 300
SIDE, ASKED = 16_000, 1000  # units of the large model, and its rows
ROWS = {runs.MNIST: 150_000, runs.SPEECH: 3000, runs.IMAGE_28: 60_000}
FORWARD = """
import sys, time
from pathlib import Path
import numpy as np
from dbmpi.inference.sizes import minibatch
from dbmpi.trained.forward import Forward
from dbmpi.trained.opening import open_model
from kernels import jit
jit.set_threads(1)
with open_model(Path(sys.argv[1])) as trained:
    forward, width, rows = Forward(trained), minibatch(trained), int(sys.argv[2])
forward.outputs(np.ones((width, *trained.format.input_shape), np.uint8))
start = time.perf_counter()
for _ in range(rows // width):
    forward.model.outputs_of(forward.theta, width)
print(rows // width * width / (time.perf_counter() - start))
"""
MODEL = """
import sys
import h5py, numpy as np
from dbmpi.config.load import load
from dbmpi.config.toml import to_toml
side, rows, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
rng = np.random.default_rng(1)
with h5py.File(f"{folder}/large.h5", "w") as file:
    about = {"format": 1, "configuration": to_toml(load(None, sys.argv[4:])), "outputs": "classes"}
    about |= {"input_shape": [side], "input_dtype": "float32", "scale": 1.0, "offset": 0.0}
    file.attrs.update(about)
    weight = file.create_dataset("layers.0.weight", (side, side), "f4")
    for row in range(0, side, rows):
        weight[row : row + rows] = rng.normal(0, 0.01, (rows, side))
    file["layers.0.bias"] = np.zeros(side, "f4")
with h5py.File(f"{folder}/large-rows.h5", "w") as file:
    file["x"] = rng.normal(size=(rows, side)).astype("f4")
"""


def groups(options: Options) -> Iterator[Group]:
    """Yield rates, then memory."""
    for network, rows in ROWS.items():
        turns = {
            "predict": partial(rate, options.folder, network, rows),
            "forward": partial(forward, options.folder, network, rows),
        }
        name = network.name.rpartition(" B ")[0]
        yield Group(f"predict {name}", turns, [Row(name, "predict", "rows/s", ("forward",), AIM)])
    row = Row("memory with a model of 1 GB", "peak", "times the model", aim=MOST_MEMORY)
    yield Group("predict memory", {"peak": partial(peak, options.folder)}, [row])


@cache
def model(folder: Path, network: runs.Network, rows: int) -> tuple[Path, Path]:
    """Train a network for one step; return its run directory and its data."""
    data = runs.data(folder, network.shape, network.classes, rows)
    place = folder / f"model-{network.classes}-{len(network.shape)}-{rows}"
    settings = [f"data.path={json.dumps(str(data))}", *network.settings, "train.steps=1", *runs.QUIET]
    command = [sys.executable, *network.program, "--run-dir", str(place), "--set", *settings]
    _run([*command, "train.epochs=none", "cluster.threads=1"])
    return place, data


def rate(folder: Path, network: runs.Network, rows: int) -> float:
    """Return the rows/s that the command says."""
    place, data = model(folder, network, rows)
    words = [str(place), str(data), str(folder / "predicted.h5"), "--split", "train", "--threads", "1"]
    done = _run([sys.executable, "-m", "dbmpi.predict", *words])
    said = re.search(r"\(([\d,]+) rows/s\)", done.err)
    assert said is not None
    return float(said[1].replace(",", ""))


def forward(folder: Path, network: runs.Network, rows: int) -> float:
    """Return the rows/s of the forward pass alone."""
    place, _ = model(folder, network, rows)
    return float(_run([sys.executable, "-c", FORWARD, str(place), str(rows)]).out)


def peak(folder: Path) -> float:
    """Return the peak memory of a process that asks a large model, by the bytes of the model."""
    if not (folder / "large.h5").exists():
        settings = [layers([], SIDE), "model.loss=softmax"]
        _run([sys.executable, "-c", MODEL, str(SIDE), str(ASKED), str(folder), *settings])
    places = (str(folder / name) for name in ("large.h5", "large-rows.h5", "predicted.h5"))
    command = [sys.executable, "-m", "dbmpi.predict", *places, "--threads", "1"]
    # By a small process of its own: one that begins as a copy of a large one has the peak of that.
    watch = f"import resource, subprocess; subprocess.run({command!r}, check=True); "
    watch += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    said = subprocess.run(
        [sys.executable, "-S", "-c", watch], cwd=ROOT, check=True, timeout=LIMIT_S, stdout=-1
    )
    return int(said.stdout) * 1024 / (4 * SIDE * SIDE)


def _run(command: list[str]) -> processes.Finished:
    """Run a program with one thread of each library; raise SystemExit where it fails."""
    environment = {"PYTHONPATH": str(ROOT), **thread_environment(1)}
    done = processes.run(command, timeout_s=LIMIT_S, env=environment)
    if done.timed_out or done.status:
        raise SystemExit(str(done))
    return done
