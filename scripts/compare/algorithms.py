"""Compare Downpour and Sandblaster: `python scripts/compare [--data FILE.h5] [--out docs/comparison.md]`.

From the same warmstart, as in Figures 4 and 5 of the paper (Dean et al. 2012): test accuracy against time and
against examples. One after another it runs Downpour, whose first examples are the warmstart; Sandblaster
L-BFGS and nonlinear conjugate gradients after that warmstart; and L-BFGS without one; each on 1 coordinator +
1 shard + 2 replicas, one thread each. It writes a page and, beside it, two charts. Without --data it takes
the embedded digits, in seconds; MNIST takes about 6 minutes. Wants a machine with two free cores, an MPI in
this Python's environment, and matplotlib (the extra "report").
"""

import argparse
import importlib.util
import json
import os
import platform
import shlex
import tempfile
import tomllib
from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path

from dbmpi.data.describe import Description, describe
from dbmpi.errors import UserError
from scripts.compare.charts import draw
from scripts.compare.curves import NAMES, Curve, read_curve
from scripts.compare.page import Background, page, percent
from scripts.training_runs import RANKS, REPLICAS, layers, train

SETTINGS = [
    *REPLICAS,
    "cluster.threads=1",
    "train.minibatch=100",
    "train.seed=1",
    "downpour.rule=adagrad",
    "downpour.learning_rate=0.02",
]
BATCH = "train.algorithm=sandblaster"
CONJUGATE = "sandblaster.method=conjugate_gradient"
INPUTS, HIDDEN = 28 * 28, [512, 512]  # other data get the layers of the default configuration
STARTED_S = 400.0  # for all of a run but its training: compilation, at its longest
STOPPED = 85  # by train.max_time
DIVERGED = 3  # a status with results: for an optimizer, that it can go no further


def main(arguments: list[str]) -> None:
    """Read the command line, run, and write the page and its charts."""
    given = parse(arguments)
    if importlib.util.find_spec("matplotlib") is None:
        raise SystemExit('the charts need matplotlib, of the extra "report": pip install -e ".[report]"')
    if not given.out.parent.is_dir():
        raise SystemExit(f"{given.out}: cannot be written: its folder is missing")
    try:
        data = describe(given.data.absolute() if given.data else "digits")
    except UserError as error:
        raise SystemExit(str(error)) from None
    if data.classes is None:
        raise SystemExit(f"{given.data}: has float targets, so that there is no accuracy to compare")
    general, own = settings_of(given, data)
    with tempfile.TemporaryDirectory() as name:
        run_dirs = {key: Path(name) / key for key in given.runs}
        for key, run_dir in run_dirs.items():
            run(key, run_dir, [f"data.path={json.dumps(data.path)}", *general, *own[key]], given.seconds)
        curves = [read_curve(key, run_dir) for key, run_dir in run_dirs.items()]
        about = Background(
            command=shlex.join(["python", "scripts/compare", *arguments]),
            machine=machine(run_dirs[given.runs[0]]),
            data=data,
            network=network(run_dirs[given.runs[0]], data),
            settings=general,
            own=own,
            every=given.every,
        )
    write(given.out, about, curves)


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the options of a command line."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="scripts/compare", description=__doc__, formatter_class=form)
    add = parser.add_argument
    add("--data", type=Path, help="an HDF5 file with labels (default: the embedded digits)")
    add("--out", type=Path, default=Path("docs/comparison.md"), help="the page (default docs/comparison.md)")
    add("--seconds", type=float, default=80, help="training time of each run at most (default 80)")
    add("--epochs", type=float, default=60, help="epochs of Downpour at most (default 60)")
    add("--iterations", type=int, default=100, help="iterations of Sandblaster at most (default 100)")
    add("--warmstart", type=int, help="examples of the warmstart (default: one epoch)")
    add("--every", type=float, default=0.5, help="epochs between evaluations, at most 1 (default 0.5)")
    add("--runs", nargs="+", choices=NAMES, default=list(NAMES), help="which (default: all)")
    given = parser.parse_args(arguments)
    if not 0 < given.every <= 1:  # so that Sandblaster is evaluated in each iteration, a pass or more
        parser.error("--every must be above 0 and at most 1")
    given.runs = [key for key in NAMES if key in given.runs]
    return given


def settings_of(given: argparse.Namespace, data: Description) -> tuple[list[str], dict[str, list[str]]]:
    """Return the settings of all runs, and those of each."""
    model = [layers(HIDDEN, data.classes or 0)] if data.inputs == INPUTS else []
    warm = data.train_rows if given.warmstart is None else given.warmstart
    general = [
        *model,
        *SETTINGS,
        f"train.max_time={given.seconds:g}",
        f"evaluation.every_epochs={given.every:g}",
    ]
    batch = [BATCH, f"sandblaster.iterations={given.iterations}"]
    after = f"sandblaster.warmstart_examples={warm}"
    return general, {
        "downpour": [f"train.epochs={given.epochs:g}"],
        "lbfgs": [*batch, after],
        "cg": [*batch, CONJUGATE, after],
        "lbfgs-cold": batch,
    }


def run(key: str, run_dir: Path, settings: list[str], seconds: float) -> None:
    """Make one run, and tell how it ended."""
    print(f"{NAMES[key]} ...", end=" ", flush=True)
    quiet = [*settings, "output.progress=none"]
    end = train(RANKS, run_dir, quiet, STARTED_S + 2 * seconds, good=(0, DIVERGED, STOPPED))
    print(f"{end['stop_reason']} after {end['train_s']:.1f} s, accuracy {percent(end['test_accuracy'])}")


def machine(run_dir: Path) -> str:
    """Return cores, processor and versions, as one line."""
    about = json.loads((run_dir / "run.json").read_text())
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = ", ".join(f"{library} {version}" for library, version in about["versions"].items())
    mpi = about["mpi"].partition(",")[0].strip()
    return f"{cores} cores of {models[0] if models else platform.machine()}; {versions}, {mpi}"


def network(run_dir: Path, data: Description) -> str:
    """Return the units of all layers, as 784-512-512-10."""
    config = tomllib.loads((run_dir / "config.toml").read_text())
    return "-".join(map(str, [data.inputs, *(layer["units"] for layer in config["model"]["layers"])]))


def write(out: Path, about: Background, curves: Sequence[Curve]) -> None:
    """Write the charts and the page."""
    charts = [out.with_name(f"{out.stem}-{what}.svg") for what in ("time", "examples")]
    draw(charts[0], curves, attrgetter("seconds"), "training time (s)")
    draw(charts[1], curves, attrgetter("examples"), "examples learned from, or gone over in passes", "log")
    out.write_text(page(about, curves, (charts[0].name, charts[1].name)))
    print("written:", *map(str, [out, *charts]))
