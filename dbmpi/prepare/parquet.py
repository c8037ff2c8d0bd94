"""Parquet files, by pyarrow: blocks of rows, and the columns of each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dbmpi.arrays import Array
from dbmpi.data.sanity import LARGEST
from dbmpi.errors import UserError
from dbmpi.prepare.stream import explained
from dbmpi.prepare.table_file import check_names
from dbmpi.text import show

BLOCK_ROWS = 4096


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value.decode() if isinstance(value, bytes) else str(value)


@dataclass(frozen=True)
class ParquetBlock:
    """Some consecutive rows of a file.

    Attributes
    ----------
    batch
        The rows.
    first
        The number of the first one in its file, from 1.
    path
        Of the file.
    """

    batch: Any
    first: int
    path: Path

    @property
    def width(self) -> int:
        """The number of columns."""
        return int(self.batch.num_columns)

    def numbers(self, places: Sequence[int], alone: bool) -> Array | None:
        """Return columns of finite numbers, float64 (B, places); None if there is anything else."""
        columns = [self.batch.column(place) for place in places]
        if any(
            one.null_count or not (pa.types.is_integer(one.type) or pa.types.is_floating(one.type))
            for one in columns
        ):
            return None
        found = np.stack([one.to_numpy(zero_copy_only=False) for one in columns], axis=1).astype(np.float64)
        return found if (np.abs(found) <= LARGEST).all() else None

    def cells(self, place: int) -> Sequence[str]:
        """Return the texts of a column; what is missing is empty. Raises UserError where they are none."""
        column, name = self.batch.column(place), self.batch.schema.names[place]
        if pa.types.is_nested(column.type):
            raise UserError(
                f"{self.path}: the column {show(name)} holds {column.type}, no numbers or texts; leave it "
                f"out: --drop {name}"
            )
        with explained(f"{self.path}: the column {show(name)}, from row {self.first} on"):
            return [_text(one) for one in column.to_pylist()]

    def where(self, row: int) -> str:
        """Name the place of a row: its file and number."""
        return f"{self.path}: row {self.first + row}"


class ParquetFile:
    """One file.

    Attributes
    ----------
    path, names
        Of the file, and of its columns.

    Raises
    ------
    UserError
        It cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with explained(str(path)), self._opened() as file:
            self.names: list[str] = file.schema_arrow.names
            self._rows = int(file.metadata.num_rows)
        check_names(path, self.names)

    def expected(self) -> int:
        """Return how many rows there are."""
        return max(1, self._rows)

    def blocks(self) -> Iterator[ParquetBlock]:
        """Yield all rows. Raises UserError where the file cannot be read."""
        first = 1
        with self._opened() as file:
            batches = file.iter_batches(BLOCK_ROWS)
            while True:
                with explained(f"{self.path}: from row {first} on"):
                    batch = next(batches, None)
                if batch is None:
                    return
                yield ParquetBlock(batch, first, self.path)
                first += batch.num_rows

    def _opened(self) -> Any:
        with explained(str(self.path)):
            return pq.ParquetFile(self.path)
