"""The core of every part: figures that are taken in turns, their medians, their ratios, and the aims.

A part is a module of `scripts.bench.parts` with a function `groups(options)`. A group holds *turns*,
functions of which each takes one figure or several, and *rows*, which say what stands beside what. Turns of a
group follow one another in each round, so that what disturbs the machine disturbs both sides. Pure: no files,
no processes.
"""

import math
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

Turn = Callable[[], float | Mapping[str, float]]  # a figure of the turn's own name, or several by name


class Skipped(Exception):
    """A figure cannot be taken here; the text says why."""


def require(library: str) -> None:
    """Raise Skipped where a library of the extra "bench" is not installed."""
    if find_spec(library) is None:
        raise Skipped(f"{library} is not installed (pip install '.[bench]')")


@dataclass(frozen=True)
class Options:
    """What the command line says.

    Attributes
    ----------
    folder
        For temporary files.
    rounds, seconds
        Rounds of a part, None for as many as it wants; no other is begun that would end after `seconds`.
    data
        An HDF5 file of 28 x 28 images and 10 classes; None: parts make their own examples.
    target, examples
        Of the part `accuracy`: a test accuracy, and how many examples each side learns from.
    only
        Groups whose name contains this, in whatever case.
    """

    folder: Path
    rounds: int | None = None
    seconds: float = 100.0
    data: Path | None = None
    target: float = 0.974
    examples: int = 180_000
    only: str = ""

    def wants(self, group: str) -> bool:
        """Whether a group is to be measured, by its name."""
        return self.only.casefold() in group.casefold()


@dataclass(frozen=True)
class Aim:
    """What a ratio should be; `at_most` makes it that of a cost: the figure by the other one."""

    at_least: float | None = None
    at_most: float | None = None

    def met(self, ratio: float) -> bool:
        """Whether a ratio is as it should be."""
        return (self.at_least is None or ratio >= self.at_least) and (
            self.at_most is None or ratio <= self.at_most
        )


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes
    ----------
    name, figure, unit
        What it is called, which figure it shows, and in what unit.
    against
        The figures that it is compared with, of which the best counts; none: it stands alone.
    aim
        Of the ratio.
    lower
        Whether less is better, as of seconds. The ratio says how many times as good the figure is, but that
        of a cost (`Aim.at_most`), which is the figure by the other.
    pair
        Whether the row is about what it is compared with: without that it shows nothing.
    """

    name: str
    figure: str
    unit: str
    against: tuple[str, ...] = ()
    aim: Aim | None = None
    lower: bool = False
    pair: bool = False


@dataclass(frozen=True)
class Group:
    """Turns that follow one another in each round, and the rows that show them."""

    name: str
    turns: Mapping[str, Turn]
    rows: Sequence[Row]


@dataclass
class _Taken:
    """What the turns of a group have given; a turn that has failed or is skipped is not tried again."""

    figures: dict[str, list[float]] = field(default_factory=dict)
    why: dict[str, tuple[str, str]] = field(default_factory=dict)  # turn -> "failed" or "skipped", and why


def measure(
    groups: Iterable[Group],
    rounds: int,
    seconds: float,
    clock: Callable[[], float] = time.monotonic,
    started: float | None = None,
) -> dict[str, Any]:
    """Take the turns of all groups, round by round; return `rounds`, how many there were, and the `rows`.

    A turn that has a method `prepare` is prepared before all rounds. There is one round at least; another one
    is begun if it would end, like the last, within `seconds` from `started`.
    """
    every = [(group, _Taken()) for group in groups]
    begin, made, last = clock() if started is None else started, 0, 0.0
    for group, taken in every:
        for name, turn in group.turns.items():
            _attempt(name, getattr(turn, "prepare", dict), taken)
    while made < rounds and (not made or clock() - begin + last <= seconds):
        at = clock()
        for group, taken in every:
            for name, turn in group.turns.items():
                given = _attempt(name, turn, taken)
                for figure, value in (given if isinstance(given, Mapping) else {name: given}).items():
                    taken.figures.setdefault(figure, []).append(float(value))
        made, last = made + 1, clock() - at
    return {"rounds": made, "rows": [_row(row, group, taken) for group, taken in every for row in group.rows]}


def _attempt(name: str, function: Callable[[], Any], taken: _Taken) -> Any:
    """Call a function of a turn, unless one has failed before; return {} where it fails."""
    if name in taken.why:
        return {}
    try:
        return function()
    except Skipped as reason:
        taken.why[name] = "skipped", str(reason)
    except (Exception, SystemExit) as error:  # one bad turn does not end the others
        taken.why[name] = "failed", f"{type(error).__name__}: {error}"
    return {}


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Return the median of some values, the least and the most, and themselves; null what is not finite."""
    found = {"median": statistics.median(values), "least": min(values), "most": max(values)}
    return {name: finite(value) for name, value in found.items()} | {"values": [*map(finite, values)]}


def finite(value: float) -> float | None:
    """Return what JSON can hold: nothing for what was never reached."""
    return value if math.isfinite(value) else None


def _row(row: Row, group: Group, taken: _Taken) -> dict[str, Any]:
    """Return a row as it is written: see `scripts.bench.command` for its keys."""
    result: dict[str, Any] = {"group": group.name, "name": row.name, "unit": row.unit, "status": "measured"}
    result |= {"aim": vars(row.aim) if row.aim else None, "why": _reasons(row, group, taken)}
    mine = taken.figures.get(row.figure, [])
    others = {name: values for name in row.against if (values := taken.figures.get(name))}
    if not mine or (row.pair and not others):
        missing = set(row.against) if mine else {row.figure}
        kinds = {taken.why[turn][0] for turn in _blamed(missing, group, taken)}
        return result | {"status": "skipped" if kinds == {"skipped"} else "failed"}
    result["figure"] = {"name": row.figure} | spread(mine)
    if not others:
        return result
    best = (min if row.lower else max)(others, key=lambda name: statistics.median(others[name]))
    result["against"] = {"name": best} | spread(others[best])
    inverse = row.lower and not (row.aim and row.aim.at_most)
    pairs = [(b, a) if inverse else (a, b) for a, b in zip(mine, others[best], strict=False)]
    ratios = [a / b if b and math.isfinite(a) else math.inf for a, b in pairs]
    result["ratio"] = spread(ratios)
    result["met"] = row.aim.met(statistics.median(ratios)) if row.aim else None
    return result


def _reasons(row: Row, group: Group, taken: _Taken) -> str:
    """Say why figures of a row are missing."""
    missing = {row.figure, *row.against} - taken.figures.keys()
    found = [(turn, *taken.why[turn]) for turn in _blamed(missing, group, taken)]
    return "; ".join(f"{turn} {kind}: {why}" for turn, kind, why in found)


def _blamed(missing: set[str], group: Group, taken: _Taken) -> list[str]:
    """Return the turns that gave nothing and may be the cause: those that the figures are named after, else
    any."""
    own = {name: _giver(name, group) for name in missing}
    return [turn for turn in taken.why if turn in own.values() or None in own.values()]


def _giver(figure: str, group: Group) -> str | None:
    """Return the turn of whose name a figure's is, or with whose name, and a blank, it begins."""
    named = [turn for turn in group.turns if f"{figure} ".startswith(f"{turn} ")]
    return max(named, key=len, default=None)
