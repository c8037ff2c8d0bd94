"""Classes that come as texts or numbers, and get the numbers 0, 1, 2, ... in order."""

from collections.abc import Iterable
from math import isfinite

import numpy as np

from dbmpi.arrays import Array


class Codes(dict[str, int]):
    """Gives each text that it is asked for a number, in the order in which they come."""

    def __missing__(self, text: str) -> int:
        self[text] = len(self)
        return self[text]

    def ordered(self) -> tuple[tuple[str, ...], Array]:
        """Return the texts in order, and for each number that was given the place of its text there."""
        names = in_order(self)
        place = {name: number for number, name in enumerate(names)}
        return names, np.array([place[name] for name in self], np.int64)


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Sort texts: as numbers where all are numbers, else as texts. The order they come in does not matter."""
    names = sorted(names)
    try:
        numbers = {name: float(name) for name in names}
    except ValueError:
        return tuple(names)
    if not all(map(isfinite, numbers.values())):  # nan has no place among numbers
        return tuple(names)
    return tuple(sorted(names, key=numbers.__getitem__))
