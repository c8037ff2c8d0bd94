"""The figures of the page, by quantity and run: for its tables, and for the sentences at its top. Pure."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter

from scripts.compare.curves import Curve, at, reaching, within

NONE = "–"


@dataclass(frozen=True)
class Quantity:
    """What a table shows of each run: its heading, and the text of a cell."""

    heading: str
    of: Callable[[Curve], str]


def quantities(seconds: float, examples: float, levels: Sequence[float]) -> dict[str, Quantity]:
    """Return all quantities, by the names that sentences use.

    Parameters
    ----------
    seconds
        Training time of a run.
    examples
        At which number accuracies are compared.
    levels
        Accuracies to be reached.
    """
    rate = Quantity("Examples/s", lambda curve: count(curve.summary["examples_per_s"]))
    found = {
        "accuracy": Quantity(
            f"The best accuracy within {seconds:g} s", lambda curve: percent(within(curve, seconds + 1))
        ),
        "learned": Quantity(
            f"Accuracy after {count(examples)} examples",
            lambda curve: percent(p.accuracy) if (p := at(curve, attrgetter("examples"), examples)) else NONE,
        ),
    }
    for level in levels:
        text = f"{100 * level:g}"
        found[f"seconds {text}%"] = Quantity(f"Seconds to {text} %", partial(seconds_to, level))
    return found | {"rate": rate, "staleness": Quantity("Mean staleness, in updates", staleness)}


def seconds_to(level: float, curve: Curve) -> str:
    """Return the time of the first evaluation with an accuracy, as text."""
    point = reaching(curve, level)
    return f"{point.seconds:.1f}" if point else NONE


def staleness(curve: Curve) -> str:
    """Return by how many updates a gradient was late, as text; of a batch method it means nothing."""
    if curve.summary.get("iterations"):
        return NONE
    return f"{curve.summary['staleness_mean']:.1f}"


def filled(text: str, every: Mapping[str, Quantity], curves: Sequence[Curve]) -> str:
    """Return sentences with their figures: `{rate sync 6 busy}`, the quantity, then the run.

    Raises
    ------
    SystemExit
        There is no such quantity.
    """
    runs = {curve.case.name: curve for curve in curves}

    def figure(found: re.Match[str]) -> str:
        words = found[1].split()
        size = 2 if words[0] == "seconds" else 1
        name, run = " ".join(words[:size]), "-".join(words[size:])
        if name not in every:
            raise SystemExit(f"which.md: there is no {name}; there are {', '.join(every)}")
        return every[name].of(runs[run]) if run in runs else NONE

    return re.sub(r"\{([^}]+)\}", figure, text)


def percent(share: float | None) -> str:
    """Return a share as text."""
    return NONE if share is None else f"{100 * share:.2f} %"


def count(number: float) -> str:
    """Return a number without its fraction, as text."""
    return f"{number:,.0f}"
