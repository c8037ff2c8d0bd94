"""The program's defaults beside the winner of a grid of rules and rates, on tables split by ten seeds.

The winner is chosen by its mean on five splits, and compared with the defaults on the other five: points of
accuracy, or percent of the loss, that the defaults are behind. Allowed are 1 point or 5 percent, or two
standard errors of the paired difference, if that is more. Serial runs of the program on one thread, all in
this process; the grid leaves all but rule and rate at their defaults. Nothing depends on time.
"""

import contextlib
import io
import json
import math
import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from dbmpi import train
from scripts.bench import runs, tables
from scripts.bench.core import Aim, Group, Options, Row
from scripts.ways import rule

ROUNDS = 1
CHOSEN_ON, COMPARED_ON = range(1, 6), range(6, 11)  # seeds of splits
POINTS, PERCENT, ERRORS = 1.0, 5.0, 2.0
DIVERGED = 3
GRID = {
    "adagrad": (0.1, 0.03, 0.01, 0.003),
    "adam": (0.01, 0.003, 0.001, 0.0003),
    "momentum": (0.1, 0.03, 0.01, 0.003),
}
WAYS = {
    f"{name} {rate}": [*rule(name), f"downpour.learning_rate={rate}"]
    for name, rates in GRID.items()
    for rate in rates
}


def groups(options: Options) -> Iterator[Group]:
    """Yield each table; `behind` is negative where the defaults are better."""
    for table in tables.TABLES:
        unit, what = ("points", "%") if table.labels else ("%", "loss")
        aim, name = Aim(at_most=1), table.name
        yield Group(
            name,
            {name: partial(compared, options, table)},
            [
                Row(f"{name}, behind the winner", "behind", unit, ("allowed",), aim, lower=True),
                Row(f"{name}, defaults", "defaults", what),
                Row(f"{name}, {{best}}", tuple(WAYS), what, lower=not table.labels),
            ],
        )


def compared(options: Options, table: tables.Table) -> Mapping[str, float]:
    """Choose the winner, and compare it; return the means on the splits of the comparison."""
    worse = -1 if table.labels else 1
    means = {name: statistics.fmean(scores(options, table, way, CHOSEN_ON)) for name, way in WAYS.items()}
    winner = min(means, key=lambda name: worse * means[name])
    mine, best = (scores(options, table, way, COMPARED_ON) for way in ([], WAYS[winner]))
    behind = [b - a if table.labels else 100 * (a / b - 1) for a, b in zip(mine, best, strict=True)]
    error = statistics.stdev(behind) / math.sqrt(len(behind))
    allowed = max(POINTS if table.labels else PERCENT, ERRORS * error)
    means_of = {"defaults": statistics.fmean(mine), winner: statistics.fmean(best)}
    return {"behind": statistics.fmean(behind), "allowed": allowed, **means_of}


def scores(options: Options, table: tables.Table, way: Sequence[str], seeds: range) -> list[float]:
    """Train on some splits; return the accuracies in percent, or the losses."""
    return [score(options, table, way, seed) for seed in seeds]


def score(options: Options, table: tables.Table, way: Sequence[str], seed: int) -> float:
    """Train on one split; what diverges has no accuracy at all, or an infinite loss."""
    data = json.dumps(str(tables.write(table, options, seed)))
    settings = [f"data.path={data}", *table.settings, f"train.epochs={table.epochs}", *way, *runs.QUIET]
    settings += ["cluster.threads=1", f"train.seed={seed}"]
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            status = train.main(["--run-dir", folder, "--set", *settings])
        if status not in (0, DIVERGED):
            raise RuntimeError(f"status {status}: {said.getvalue()}")
        end = json.loads((Path(folder) / "summary.json").read_text())
    if status == DIVERGED:
        return 0.0 if table.labels else math.inf
    return 100 * float(end["test_accuracy"]) if table.labels else float(end["test_loss"])
