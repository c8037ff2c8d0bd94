"""Reports of portions, added up many at a time: one by one they would cost fast replicas speed. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dbmpi.arrays import Record
from dbmpi.comm.protocol import REPORT

MOST = 256  # reports that wait


class Portions(NamedTuple):
    """The reports of some portions.

    `reports` has one from each partition, `firsts` one of each portion: what partitions have done together
    counts once.
    """

    reports: Record
    firsts: Record


def table(reports: Sequence[Record]) -> Record:
    """Return `REPORT` records, each `()`, as one array, `(n,)`."""
    content = b"".join([report.tobytes() for report in reports])
    return np.frombuffer(content, REPORT) if content else np.zeros(0, REPORT)


class Waiting:
    """The portions that wait."""

    def __init__(self) -> None:
        self._reports: list[Record] = []
        self._firsts: list[int] = []

    def add(self, reports: Sequence[Record]) -> bool:
        """Add the reports of a portion; return whether it is time to take them."""
        self._firsts.append(len(self._reports))
        self._reports += reports
        return len(self._reports) >= MOST

    def take(self) -> Portions | None:
        """Return what waits; None where nothing does."""
        if not self._reports:
            return None
        reports = table(self._reports)
        firsts = reports[self._firsts]
        self._reports.clear()
        self._firsts.clear()
        return Portions(reports, firsts)
