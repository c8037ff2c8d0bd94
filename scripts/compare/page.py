"""The text and the tables of the page of the comparison; the sentences at its top are in which.md."""

import os
import platform
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any

from dbmpi.data.describe import Description
from scripts.compare.curves import Curve, top
from scripts.compare.figures import NONE, Quantity, count, filled, percent, quantities
from scripts.compare.plan import BUSY, SERIAL, WAYS, Case

WIDTH = 120  # of a line of the page
SENTENCES = Path(__file__).with_name("which.md")
LEVELS = (0.95, 0.97, 0.975)
EPOCHS = 4  # after which accuracies are compared

PAGE = """\
# Which algorithm to use when

{sentences}

All this is of one machine with few cores, on which replicas take time from one another: on a cluster each has
its own. This page and its charts are written by

    {command}

## What was run

{rows} examples of {shape} to learn from and {test_rows} to test with; 1 coordinator, 1 shard and 2, 6 or 28
replicas of 1 partition, or one process; one run after another, on an idle machine and beside {busy} busy
processes, on {machine}. All runs had the settings

{settings}

and each its own ([configuration.md](configuration.md) explains them), all else being as it is by default:

{own}

A run ends by the first of its limits.

{tables}

## Curves

![Test accuracy against training time]({time_chart})

![Test accuracy against examples]({examples_chart})

## How to read this

* One run of each. Replicas that do not wait for one another give other numbers in another run. {error}
* "Busy" is beside {busy} processes that compute all the time. {none}: never, or not run.
* The clock runs during evaluations: one every {every} epochs, or every iteration where that is longer. One of
  Downpour stands in its curve where it ended, and the other replicas have learned on meanwhile.
* An example counts each time that it is learned from, or that a pass goes over it. The batch methods begin
  with one epoch of Downpour, which counts too.
"""


@dataclass(frozen=True)
class Background:
    """What the page says of all runs together."""

    command: str
    machine: str
    data: Description
    settings: list[str]
    seconds: float
    every: float  # epochs between evaluations


def page(about: Background, curves: Sequence[Curve], charts: Sequence[str]) -> str:
    """Return the page."""
    data = about.data
    every = quantities(about.seconds, EPOCHS * data.train_rows, LEVELS)
    sentences = [filled(line, every, curves) for line in SENTENCES.read_text().splitlines() if line]
    text = PAGE.format(
        sentences="\n".join(f"* {line}" for line in sentences),
        command=about.command,
        machine=about.machine,
        busy=BUSY,
        none=NONE,
        every=about.every,
        rows=count(data.train_rows),
        test_rows=count(data.test_rows),
        shape=" x ".join(map(str, data.input_shape)),
        settings="\n".join(f"    {setting}" for setting in about.settings),
        own=own_settings(curves, data.train_rows),
        tables="\n\n".join(f"## {one.heading}\n\n{tabled(one, curves)}" for one in every.values()),
        time_chart=charts[0],
        examples_chart=charts[1],
        error=standard_error(curves, data.test_rows),
    )
    return "\n\n".join(block for part in text.split("\n\n") if (block := wrapped(part.strip("\n")))) + "\n"


def wrapped(block: str) -> str:
    """Return a paragraph, or a list, in lines of even length; any other block as it is."""
    if block.startswith("* "):
        return "\n".join(fill(item, "* ", "  ") for item in block[2:].split("\n* "))
    return fill(block) if block[:1].isalnum() or block[:1] == '"' else block


def fill(text: str, first: str = "", others: str = "") -> str:
    """Return text in lines, the first of them and the others indented so."""
    words = " ".join(text.split()).replace(" %", "\xa0%")  # the sign stays with its number
    filler = textwrap.TextWrapper(WIDTH, first, others, break_on_hyphens=False)
    return filler.fill(words).replace("\xa0", " ")


def own_settings(curves: Sequence[Curve], rows: int) -> str:
    """Return the table of what each way is told, with the most replicas that there are."""
    told: dict[str, Case] = {}
    for curve in curves:
        before = told.get(curve.case.key, curve.case)
        told[curve.case.key] = max(before, curve.case, key=lambda case: case.replicas)
    lines = []
    for key, case in told.items():
        own = WAYS[key][1](case.replicas, rows) or []
        lines.append([WAYS[key][0], f"`{'`, `'.join(own)}`" if own else NONE])
    most = max(case.replicas for case in told.values())
    return table(["", f"settings, with {most} replicas"], lines)


def tabled(one: Quantity, curves: Sequence[Curve]) -> str:
    """Return the table of a quantity: a line for each way, idle and busy for each number of replicas."""
    runs = {curve.case.name: curve for curve in curves}
    sizes = sorted({curve.case.replicas for curve in curves if curve.case.replicas})
    columns = [(size, busy) for size in sizes for busy in (False, True)] or [(0, False), (0, True)]
    heads = [f"{size}, busy" if busy else f"{size} replicas" for size, busy in columns]
    lines = []
    for key in dict.fromkeys(curve.case.key for curve in curves):
        names = [Case(key, 0 if key == SERIAL else size, busy).name for size, busy in columns]
        cells = [one.of(runs[name]) if name in runs else NONE for name in names]
        if key == SERIAL:  # one process, whatever the column says
            cells = [*cells[:2], *[""] * (len(cells) - 2)]
        lines.append([f"{WAYS[key][0]} (idle, busy)" if key == SERIAL else WAYS[key][0], *cells])
    return table(["", *heads], lines)


def standard_error(curves: Sequence[Curve], rows: int) -> str:
    """Say how exact an accuracy is, by the number of examples that it is of."""
    best = top(curves)
    error = 100 * sqrt(best * (1 - best) / rows)
    return (
        f"With {count(rows)} test examples the standard error of an accuracy of {percent(best)} is "
        f"{error:.2f} points."
    )


def machine(about: Mapping[str, Any]) -> str:
    """Return cores, processor and versions, as one line, by what a run says of itself."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = ", ".join(f"{library} {version}" for library, version in about["versions"].items())
    mpi = about["mpi"].partition(",")[0].strip()
    return f"{cores} cores of {models[0] if models else platform.machine()}; {versions}, {mpi}"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
