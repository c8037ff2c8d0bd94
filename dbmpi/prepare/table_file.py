"""What a table is read from: files of the same columns, in blocks of rows."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from dbmpi.arrays import Array
from dbmpi.errors import UserError


class Block(Protocol):
    """Some consecutive rows of a file, as `delimited.Block`."""

    @property
    def width(self) -> int:
        """The number of columns."""

    def numbers(self, places: Sequence[int], alone: bool) -> Array | None:
        """Return columns of finite numbers, float64 (B, places); None if there is anything else."""

    def cells(self, place: int) -> Sequence[str]:
        """Return the texts of a column. Raises UserError."""

    def where(self, row: int) -> str:
        """Name the place of a row."""


class TableFile(Protocol):
    """One file of a table, with the names of its columns."""

    path: Path
    names: list[str]

    def expected(self) -> int:
        """Return about how many rows there are."""

    def blocks(self) -> Iterator[Block]:
        """Yield all rows. Raises UserError."""


def check_names(path: Path, names: Sequence[str]) -> None:
    """Raise UserError where columns of a file have one name."""
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise UserError(f"{path}: has several columns of the name {twice[0]!r}; give each its own")
