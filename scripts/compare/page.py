"""The text and the tables of the page of the comparison."""

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt
from operator import attrgetter

from dbmpi.data.describe import Description
from scripts.compare.curves import Curve, Point, at, best, evaluations_s, levels, reaching, round_numbers
from scripts.training_runs import RANKS

WIDTH = 120  # of a line of the page
NONE = "–"

PAGE = """\
# Downpour and Sandblaster compared

Test accuracy against time and against examples, from the same warmstart: what Figures 4 and 5 of the paper
(Dean et al. 2012) compare, at the size of one machine. This page and its charts are written by

    {command}

## What was run

{rows} examples of {shape} to learn from and {test_rows} to test with; a network of {network} units; {ranks}
ranks: 1 coordinator, 1 shard and 2 replicas of 1 partition, one thread each; one run after another on
{machine}.

All runs had the settings

{settings}

and each its own ([configuration.md](configuration.md) explains them):

{own}

A run ends by the first of its limits. A run has one size of minibatch, and this is Downpour's: the warmstart
depends on it, while Sandblaster's results do not, though its speed does.

{warmstart}

## Against time

![Test accuracy against training time]({time_chart})

{at_seconds}

## Against examples

![Test accuracy against examples]({examples_chart})

{at_examples}

In both tables an accuracy is that of the last evaluation up to there; {none} where there was none yet, or the
run was over.

## Accuracies reached

The first evaluation with at least this accuracy: after so many seconds (and examples).

{reached}

{verdict}

## At the end

{ends}

"Best" is the highest of all evaluations. The training loss is Downpour's mean while it learned, in its last
record (of about a second), and Sandblaster's of the whole training set after its last iteration. Examples/s
are over the whole training time, evaluations included.
{sandblaster}
## How to read this

* One run of each. Replicas are asynchronous, so that another run gives other numbers. {error}
* The clock runs during evaluations: one every {every} epochs, or every iteration where that is longer. One of
  Downpour stands in its curve where it ended, and the other replica has learned on meanwhile; so the curve
  is late by that much.
* An example counts each time that it is learned from, or that a pass goes over it. The first pass after a
  warmstart yields a gradient, and no step.
* {updates} A pass can be shared by many more replicas than two. The paper ran both algorithms on thousands of
  cores; how they compare there cannot be seen on {cores}.
"""

SANDBLASTER = """
Where the time of Sandblaster went, in seconds: the warmstart; passes over the training set, with the one that
the end of the run cut short; vector operations on the shard; the coordinator's own work; evaluations between
iterations. "Waiting" is the share of the passes in which a replica, on average, computed nothing.

{table}
"""


@dataclass(frozen=True)
class Background:
    """What the page says of all runs together."""

    command: str
    machine: str
    data: Description
    network: str
    settings: list[str]
    own: dict[str, list[str]]  # settings of each run
    every: float  # epochs between evaluations


def page(about: Background, curves: Sequence[Curve], charts: tuple[str, str]) -> str:
    """Return the page."""
    data, batch = about.data, [curve for curve in curves if curve.iterations]
    text = PAGE.format(
        command=about.command,
        machine=about.machine,
        cores=about.machine.partition(" ")[0],
        network=about.network,
        ranks=RANKS,
        none=NONE,
        every=about.every,
        rows=count(data.train_rows),
        test_rows=count(data.test_rows),
        shape=" x ".join(map(str, data.input_shape)),
        settings="\n".join(f"    {setting}" for setting in about.settings),
        own=table(["run", "settings"], [[c.name, f"`{'`, `'.join(about.own[c.key])}`"] for c in curves]),
        warmstart=warmstart(curves),
        time_chart=charts[0],
        examples_chart=charts[1],
        at_seconds=lookups(curves, attrgetter("seconds"), "{:g} s"),
        at_examples=lookups(curves, attrgetter("examples"), "{:,.0f}"),
        reached=reached(curves),
        verdict=verdict(curves),
        ends=ends(curves),
        sandblaster=SANDBLASTER.format(table=sandblaster(batch)) if batch else "",
        error=standard_error(curves, data.test_rows),
        updates=updates(curves),
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


def lookups(curves: Sequence[Curve], where: Callable[[Point], float], heading: str) -> str:
    """Return the table of accuracies at round places of an axis."""
    ends = [(where(curve.points[0]), where(curve.points[-1])) for curve in curves if curve.points]
    places = round_numbers(min(low for low, _ in ends), max(high for _, high in ends)) if ends else []
    rows = [
        [curve.name, *(percent(p.accuracy) if (p := at(curve, where, place)) else NONE for place in places)]
        for curve in curves
    ]
    return table(["run", *(heading.format(place) for place in places)], rows)


def reached(curves: Sequence[Curve]) -> str:
    """Return the table of when accuracies were reached."""
    wanted = levels(curves)
    rows = [[curve.name, *(moment(reaching(curve, level)) for level in wanted)] for curve in curves]
    return table(["run", *(f"{100 * level:g} %" for level in wanted)], rows)


def moment(point: Point | None) -> str:
    """Return when a point was, as it stands in a table."""
    return f"{point.seconds:.1f} ({count(point.examples)})" if point else NONE


def verdict(curves: Sequence[Curve]) -> str:
    """Say when Downpour and L-BFGS, both from the warmstart, reached the highest level that both did."""
    two = [curve for curve in curves if curve.key in ("downpour", "lbfgs")]
    common = [level for level in levels(curves) if all(reaching(curve, level) for curve in two)]
    if len(two) < 2 or not common:
        return ""
    level = common[-1]
    told = [
        f"{curve.name} after {point.seconds:.1f} s and {count(point.examples)} examples"
        for curve in two
        if (point := reaching(curve, level))
    ]
    both = f"{100 * level:g} % is the highest of these that both reached from the warmstart"
    return f"{both}: {', '.join(told)}."


def warmstart(curves: Sequence[Curve]) -> str:
    """Say where the warmstart ended, and how alike the runs with it and Downpour were there."""
    told = [told_warmstart(curve, curve.warm) for curve in curves if curve.warm]
    if not told:
        return ""
    text = (
        "The warmstart is Downpour with the same settings, seed and order of the examples as the beginning "
        "of the run of Downpour; as replicas are asynchronous, the two are not exactly the same. "
        f"It ended {'; '.join(told)}. "
    )
    examples = next(curve.warm[1] for curve in curves if curve.warm)
    points = [point for curve in curves if curve.key == "downpour" for point in curve.points]
    if points:
        near = min(points, key=lambda point: abs(point.examples - examples))
        text += (
            f"The evaluation of Downpour that is nearest, at {count(near.examples)} examples, gave "
            f"{percent(near.accuracy)}."
        )
    return text


def told_warmstart(curve: Curve, warm: tuple[float, int]) -> str:
    """Say when the warmstart of one run ended, and what the first evaluation after it gave."""
    seen = next((point.accuracy for point in curve.points if point.examples > warm[1]), None)
    return (
        f"for {curve.name} after {warm[0]:.1f} s and {count(warm[1])} examples, with an accuracy of "
        f"{percent(seen)}"
    )


def ends(curves: Sequence[Curve]) -> str:
    """Return the table of how runs ended."""
    heads = ["run", "ended by", "seconds", "examples", "examples/s", "best", "at the end", "training loss"]
    rows = [
        [
            curve.name,
            curve.summary["stop_reason"],
            f"{curve.summary['train_s']:.1f}",
            count(curve.summary["examples"]),
            count(curve.summary["examples_per_s"]),
            percent(best(curve)),
            percent(curve.summary["test_accuracy"]),
            NONE if curve.loss is None else f"{curve.loss:.3g}",
        ]
        for curve in curves
    ]
    return table(heads, rows)


def sandblaster(curves: Sequence[Curve]) -> str:
    """Return the table of where the time of Sandblaster went."""
    heads = ["run", "warmstart", "iterations", "passes", "in passes", "examples/s in them", "waiting"]
    heads += ["vector operations", "coordinator", "evaluations"]
    return table(heads, [sandblaster_row(curve) for curve in curves])


def sandblaster_row(curve: Curve) -> list[str]:
    """Return the row of one run."""
    end, passes_s = curve.summary, curve.summary["passes_s"]
    learned = end["examples"] - (curve.warm[1] if curve.warm else 0)
    return [
        curve.name,
        f"{curve.warm[0]:.1f}" if curve.warm else NONE,
        count(end["iterations"]),
        count(end["passes"]),
        f"{passes_s:.1f}",
        count(learned / max(passes_s, 1e-9)),
        f"{100 * end['waited_s'] / max(passes_s, 1e-9):.0f} %",
        f"{end['commands_s']:.2f}",
        f"{sum(record['bookkeeping_s'] for record in curve.iterations):.2f}",
        f"{evaluations_s(curve):.1f}",
    ]


def standard_error(curves: Sequence[Curve], rows: int) -> str:
    """Say how exact an accuracy is, by the number of examples that it is of."""
    top = max((accuracy for curve in curves if (accuracy := best(curve)) is not None), default=0.5)
    error = 100 * sqrt(top * (1 - top) / rows)
    return (
        f"With {count(rows)} test examples the standard error of an accuracy of {percent(top)} is "
        f"{error:.2f} points."
    )


def updates(curves: Sequence[Curve]) -> str:
    """Say how often Downpour and L-BFGS moved the parameters."""
    told = []
    for curve in curves:
        end = curve.summary
        if curve.key == "downpour":
            told.append(f"{count(end['updates'])} by Downpour")
        elif curve.key == "lbfgs" and curve.iterations:
            passes = f"passes: {count(end['passes'])}"
            told.append(f"{count(end['iterations'])} by L-BFGS after its warmstart ({passes})")
    return f"Updates of the parameters: {', '.join(told)}." if told else ""


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def percent(share: float | None) -> str:
    """Return a share as text."""
    return NONE if share is None else f"{100 * share:.2f} %"


def count(number: float) -> str:
    """Return a number without its fraction, as text."""
    return f"{number:,.0f}"
