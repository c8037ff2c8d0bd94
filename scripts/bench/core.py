"""The words of every part: turns, which take figures, rows, which say what stands beside what, and the aims.

A part is a module of `scripts.bench.parts` with a function `groups(options)`. A group holds *turns*,
functions of which each takes one figure or several, and *rows*. Turns of a group follow one another in each
round, so that what disturbs the machine disturbs both sides (`scripts.bench.rounds`). Pure.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

Turn = Callable[[], float | Mapping[str, float]]  # a figure of the turn's own name, or several by name


class Skipped(Exception):
    """A figure cannot be taken here; the text says why."""


def require(library: str, distribution: str = "") -> None:
    """Raise Skipped where a library of the extra "bench" is not installed."""
    if find_spec(library) is None:
        raise Skipped(f"{distribution or library} is not installed (pip install '.[bench]')")


def seeded(options: "Options", turn: Callable[[int], Mapping[str, float]]) -> Turn:
    """Return a turn that is given the seed of its round."""
    seeds = itertools.count(options.seed)
    return lambda: turn(next(seeds))


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
    recordings
        A folder of the free spoken digit data set; None: what learns from it is skipped.
    target, examples
        Of the parts about time to an accuracy: that of the test set, and how many examples a side learns
        from at most.
    seed
        Of the first round; each round has the next one. Of the parts that compare accuracies.
    only
        Groups whose name contains this, in whatever case.
    """

    folder: Path
    rounds: int | None = None
    seconds: float = 100.0
    data: Path | None = None
    recordings: Path | None = None
    target: float = 0.975
    examples: int = 180_000
    seed: int = 1
    only: str = ""

    def wants(self, group: str) -> bool:
        """Whether a group is to be measured, by its name."""
        return self.only.casefold() in group.casefold()


def require_data(options: Options) -> Path:
    """Return the file of --data; raise Skipped where none is given."""
    if options.data is None:
        raise Skipped("it learns from MNIST: --data")
    return options.data


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
        What it is called, "{best}" in it being the name of the figure; which figure it shows, or of which
        the best; and in what unit.
    against
        The figures that it is compared with, of which the best counts; none: it stands alone.
    aim
        Of the ratio; of the figure where the row stands alone.
    lower
        Whether less is better, as of seconds. The ratio says how many times as good the figure is, but that
        of a cost (`Aim.at_most`), which is the figure by the other.
    pair
        Whether the row is about what it is compared with: without that it shows nothing.
    by
        What counts of several rounds: "median" or, as of accuracies, "mean".
    """

    name: str
    figure: str | tuple[str, ...]
    unit: str
    against: tuple[str, ...] = ()
    aim: Aim | None = None
    lower: bool = False
    pair: bool = False
    by: str = "median"

    @property
    def own(self) -> tuple[str, ...]:
        """The figures of which the best is shown."""
        return (self.figure,) if isinstance(self.figure, str) else self.figure


@dataclass(frozen=True)
class Group:
    """Turns that follow one another in each round, and the rows that show them."""

    name: str
    turns: Mapping[str, Turn]
    rows: Sequence[Row]
