"""Compare all algorithms: `python scripts/compare [--data FILE.h5] [--out docs/comparison.md]`.

Serial training; Downpour with Adagrad, Adam, adarevision, and with averaged pushes; rounds (`sync`), with and
without backups; Sandblaster L-BFGS and conjugate gradients after one epoch of Downpour: each with 2, 6 and 28
replicas, on an idle machine and beside two busy processes, for some seconds. It writes a page and, beside it,
two charts. With MNIST it takes some 15 minutes on two cores. What runs gave is kept in a folder (--keep) with
their settings: the same command goes on where it was stopped, or --within ended it. Without --data it
takes the embedded digits. Wants an MPI in this Python's environment, and matplotlib (the extra "compare").
"""

import argparse
import importlib.util
import json
import shlex
import time
from collections.abc import Sequence
from pathlib import Path

from dbmpi.data.describe import Description, describe
from dbmpi.errors import UserError
from scripts.compare.charts import draw
from scripts.compare.curves import curve_of
from scripts.compare.keep import Keep
from scripts.compare.page import Background, machine, page
from scripts.compare.plan import REPLICAS, WAYS, Case, cases
from scripts.training_runs import layers

INPUTS, HIDDEN = 28 * 28, [512, 512]  # other data get the layers of the default configuration
MOST_EPOCHS = 20
CHARTS = ("time", "examples")


def main(arguments: list[str]) -> int:
    """Read the command line, run, and write the page and its charts; status 1 while runs are left."""
    given, started = parse(arguments), time.monotonic()
    if importlib.util.find_spec("matplotlib") is None:
        raise SystemExit('the charts need matplotlib, of the extra "compare": pip install -e ".[compare]"')
    if not given.out.parent.is_dir():
        raise SystemExit(f"{given.out}: cannot be written: its folder is missing")
    data = described(given.data)
    general = settings(given, data)
    plan = [*cases(given.ways, given.replicas)]
    keep = Keep(given.keep, [f"data.path={json.dumps(data.path)}", *general], data.train_rows, given.seconds)
    for case in plan:
        if not keep.has(case):
            if time.monotonic() - started + keep.lasts_s > given.within:
                left = sum(not keep.has(one) for one in plan)
                print(f"{left} of {len(plan)} runs are left: the same command goes on with them")
                return 1
            keep.run(case)
    write(given, arguments, data, general, plan, keep)
    return 0


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the options of a command line."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="scripts/compare", description=__doc__, formatter_class=form)
    add = parser.add_argument
    add("--data", type=Path, help="an HDF5 file with labels (default: the embedded digits)")
    add("--out", type=Path, default=Path("docs/comparison.md"), help="the page (default docs/comparison.md)")
    add("--keep", type=Path, default=Path("build/compare"), help="folder of what runs gave (build/compare)")
    add(
        "--within", type=float, default=float("inf"), help="begin no run that would end after so many seconds"
    )
    add("--seconds", type=float, default=12, help="training time of each run at most (default 12)")
    add("--every", type=float, default=0.5, help="epochs between evaluations, at most 1 (default 0.5)")
    add("--ways", nargs="+", choices=WAYS, default=list(WAYS), help="which (default: all)")
    add("--replicas", nargs="+", type=int, default=list(REPLICAS), help="how many (default: 2 6 28)")
    given = parser.parse_args(arguments)
    if not 0 < given.every <= 1:  # so that Sandblaster is evaluated in each iteration, a pass or more
        parser.error("--every must be above 0 and at most 1")
    given.ways = [key for key in WAYS if key in given.ways]
    return given


def described(path: Path | None) -> Description:
    """Return what the data are; end the program where they have no labels, or cannot be read."""
    try:
        data = describe(path.absolute() if path else "digits")
    except UserError as error:
        raise SystemExit(str(error)) from None
    if data.classes is None:
        raise SystemExit(f"{path}: has float targets, so that there is no accuracy to compare")
    return data


def settings(given: argparse.Namespace, data: Description) -> list[str]:
    """Return the settings of all runs, but the path of the data."""
    model = [layers(HIDDEN, data.classes or 0)] if data.inputs == INPUTS else []
    limits = [f"train.max_time={given.seconds:g}", f"train.epochs={MOST_EPOCHS}"]
    return [*model, "train.seed=1", *limits, f"evaluation.every_epochs={given.every:g}"]


def write(
    given: argparse.Namespace,
    arguments: Sequence[str],
    data: Description,
    general: list[str],
    plan: Sequence[Case],
    keep: Keep,
) -> None:
    """Write the charts and the page."""
    kept = [keep.of(case) for case in plan]
    curves = [curve_of(case, one) for case, one in zip(plan, kept, strict=True)]
    charts = [given.out.with_name(f"{given.out.stem}-{what}.svg") for what in CHARTS]
    draw(charts[0], curves, "seconds", "training time (s)")
    draw(charts[1], curves, "examples", "examples learned from, or gone over in passes", "log")
    about = Background(
        command=shlex.join(["python", "scripts/compare", *arguments]),
        machine=machine(kept[0]["about"]),
        data=data,
        settings=general,
        seconds=given.seconds,
        every=given.every,
    )
    given.out.write_text(page(about, curves, [chart.name for chart in charts]))
    print("written:", *map(str, [given.out, *charts]))
