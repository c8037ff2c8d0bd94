"""The trace of a rank, as its file tells (`dbmpi.spans`): looked through, and read on one time axis."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbmpi.arrays import Record
from dbmpi.errors import UserError
from dbmpi.logs.regular import regular
from dbmpi.spans import BYTES, LAYOUT, MAGIC, Kind
from dbmpi.text import plain

RECORDS = np.dtype(list(LAYOUT))
LONGEST_HEADER = 1 << 20
LONGEST_S = 1e9  # from an hour that clocks count from: of records, and between clocks of hosts
MOST_RANKS, MOST_NUMBERS = 1 << 20, 1 << 16  # ranks and nodes; what numbers of records stand for
NUMBERED = "kinds", "causes", "works", "ops", "commands"
WRONG = ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError


@dataclass(frozen=True)
class RankFile:
    """What one rank has left.

    Parameters
    ----------
    path
        The file.
    header
        What it says of itself (`run.roles.tracing`).
    begin
        Where its records begin, in bytes.
    """

    path: Path
    header: Mapping[str, Any]
    begin: int

    @property
    def rank(self) -> int:
        """The rank, in the world."""
        return int(self.header["rank"])

    @property
    def ranks(self) -> int:
        """How many ranks its job had."""
        return int(self.header["ranks"])

    @property
    def node(self) -> int:
        """The number of its node."""
        return int(self.header["node"])

    @property
    def role(self) -> str:
        """What it did."""
        return plain(str(self.header["role"]))

    @property
    def host(self) -> str:
        """Where it ran."""
        return plain(str(self.header["host"]))

    @property
    def name(self) -> str:
        """How messages call the rank."""
        return f"rank {self.rank} ({self.role})"

    @property
    def kept(self) -> int:
        """How many records there are."""
        return int(self.header["kept"])

    @property
    def dropped(self) -> int:
        """How many older records were dropped, as the memory was full."""
        return int(self.header["dropped"])

    @property
    def error_s(self) -> float:
        """How wrong times of this rank may be beside those of rank 0."""
        return float(self._offsets[:, 1].max(initial=0.0))

    def names(self, what: str) -> dict[int, str]:
        """Return what numbers stand for: of kinds, causes, works, ops or commands."""
        return {int(number): plain(str(name)) for number, name in self.header[what].items()}

    def read(self) -> Record:
        """Return the records, `(n,)` of `RECORDS`, with times by the clock of rank 0.

        Raises
        ------
        UserError
            They cannot be read.
        """
        try:
            return self._records()
        except OSError as error:
            raise UserError(f"{self.path}: {error.strerror}") from None

    def _records(self) -> Record:
        with regular(self.path) as file:
            file.seek(self.begin)
            records = np.fromfile(file, RECORDS, self.kept)
        with np.errstate(invalid="ignore"):  # of a file that is spoilt
            for name in ("start", "stop"):
                records[name] += self._offset(records[name])
        return records

    def _offset(self, at_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what times of this rank lack, `(n,)`; it changes evenly between comparisons."""
        offsets = self._offsets
        if not len(offsets):
            return np.zeros(len(at_s))
        return np.interp(at_s, offsets[:, 2], offsets[:, 0])

    @property
    def _offsets(self) -> NDArray[np.float64]:
        """What its clock lacked, how wrong that may be, and when, `(k, 3)`."""
        return np.array(self.header["offsets"], np.float64).reshape(-1, 3)

    def check(self, size: int) -> None:
        """Raise one of `WRONG`, or OSError, where this is nothing that a rank writes in so many bytes."""
        if not 0 <= self.rank < self.ranks <= MOST_RANKS or not 0 <= self.node < MOST_RANKS:
            raise ValueError("it is of no rank")
        if not all(0 <= number < MOST_NUMBERS for what in NUMBERED for number in self.names(what)):
            raise ValueError("it has no names")
        if not (np.abs(self._offsets) < LONGEST_S).all() or (np.diff(self._offsets[:, 2]) < 0).any():
            raise ValueError("its clock is none")
        _ = self.name, self.host
        if self.kept < 0 or self.dropped < 0 or size != self.begin + self.kept * BYTES:
            raise ValueError("it is cut short")
        records = self._records()
        if not all((np.abs(records[name]) < LONGEST_S).all() for name in ("start", "stop")):
            raise ValueError("it has times that are none")
        waits = records["value"][records["kind"] == Kind.WAIT]
        if not ((waits >= 0) & (waits < MOST_NUMBERS)).all():
            raise ValueError("it has waits for nothing")


def open_file(path: Path) -> RankFile:
    """Return what a rank has left in a file. Raises OSError, or one of `WRONG` where it is damaged."""
    with regular(path) as file:
        if file.readline(len(MAGIC)) != MAGIC:
            raise ValueError("another format")
        found = RankFile(path, json.loads(file.readline(LONGEST_HEADER)), file.tell())
        size = os.fstat(file.fileno()).st_size
    found.check(size)
    return found
