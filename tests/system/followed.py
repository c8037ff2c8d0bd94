"""Run dbmpi.train, and write down which rows its replicas learn from.

    python -m tests.system.followed ARGUMENTS...

The first value of a row of the data file must be its number. Each rank that learns appends to a file of its
own, `rows-<pid>`, a line a portion: the epoch, and the rows, as they were read.
"""

import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dbmpi import train
from dbmpi.replica.loader import Loader

Row = tuple[int, int]  # epoch, row


def follow() -> None:
    """Let every loader write down what it gives to learn from."""
    learn, give = Loader.train, Loader.minibatches

    def minibatches(self: Loader, rows: Any, order: Any, width: int) -> Iterator[Any]:
        self.given = [int(row) for row in rows[0].reshape(len(rows[0]), -1)[order, 0]]  # type: ignore[attr-defined]
        return give(self, rows, order, width)

    def train_(self: Loader) -> Iterator[Any]:
        epoch = self._expected[0].epoch
        yield from learn(self)
        with Path(f"rows-{os.getpid()}").open("a") as file:
            print(epoch, *self.given, file=file)  # type: ignore[attr-defined]

    Loader.minibatches, Loader.train = minibatches, train_  # type: ignore[method-assign]


def learned(folder: Path) -> Counter[Row]:
    """Return how often each row of each epoch was learned from, by all runs in a folder."""
    found: Counter[Row] = Counter()
    for path in folder.glob("rows-*"):
        for line in path.read_text().splitlines():
            epoch, *rows = map(int, line.split())
            found.update((epoch, row) for row in rows)
    return found


if __name__ == "__main__":
    follow()
    sys.exit(train.main(sys.argv[1:]))
