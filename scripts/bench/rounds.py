"""The rounds of a part: turns one after another, then medians or means, and ratios. Pure."""

import math
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from scripts.bench.core import Group, Row, Skipped

MIDDLES: dict[str, Callable[[Sequence[float]], float]] = {
    "median": statistics.median,
    "mean": statistics.fmean,
}


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
    """Return median and mean of some values, the least and the most, and themselves; null what is not
    finite."""
    found = {name: middle(values) for name, middle in MIDDLES.items()}
    found |= {"least": min(values), "most": max(values)}
    return {name: finite(value) for name, value in found.items()} | {"values": [*map(finite, values)]}


def finite(value: float) -> float | None:
    """Return what JSON can hold: nothing for what was never reached."""
    return value if math.isfinite(value) else None


def _row(row: Row, group: Group, taken: _Taken) -> dict[str, Any]:
    """Return a row as it is written: see `scripts.bench.command` for its keys."""
    result: dict[str, Any] = {"group": group.name, "name": row.name, "unit": row.unit, "status": "measured"}
    result |= {"aim": vars(row.aim) if row.aim else None, "why": _reasons(row, group, taken)}
    result["by"] = row.by
    mine, others = _best(row.own, row, taken), _best(row.against, row, taken)
    if not mine or (row.pair and not others):
        missing = set(row.against if mine else row.own)
        kinds = {taken.why[turn][0] for turn in _blamed(missing, group, taken)}
        return result | {"status": "skipped" if kinds == {"skipped"} else "failed"}
    result |= {"name": row.name.replace("{best}", mine[0]), "figure": {"name": mine[0]} | spread(mine[1])}
    judged = None if row.against else mine[1]
    if others:
        result["against"] = {"name": others[0]} | spread(others[1])
        judged = _ratios(row, mine[1], others[1])
        result["ratio"] = spread(judged)
    if judged:
        result["met"] = row.aim.met(MIDDLES[row.by](judged)) if row.aim else None
    return result


def _best(names: Sequence[str], row: Row, taken: _Taken) -> tuple[str, list[float]] | None:
    """Return the best of some figures, its name and its values; None where there is none."""
    found = {name: values for name in names if (values := taken.figures.get(name))}
    choose = min if row.lower else max
    best = choose(found, key=lambda name: MIDDLES[row.by](found[name]), default=None)
    return None if best is None else (best, found[best])


def _ratios(row: Row, mine: Sequence[float], others: Sequence[float]) -> list[float]:
    """Return how many times as good each round was, or of a cost what share."""
    inverse = row.lower and not (row.aim and row.aim.at_most)
    pairs = [(b, a) if inverse else (a, b) for a, b in zip(mine, others, strict=False)]
    return [a / b if b and math.isfinite(a) else math.inf for a, b in pairs]


def _reasons(row: Row, group: Group, taken: _Taken) -> str:
    """Say why figures of a row are missing."""
    missing = {*row.own, *row.against} - taken.figures.keys()
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
