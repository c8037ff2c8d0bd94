"""How many rows are done, of how many, and how long the others take: for who shows it (`dbmpi.phases`)."""

import time

from dbmpi.output.view import duration
from dbmpi.phases import phase


class RowsTold:
    """Says how far it is.

    Parameters
    ----------
    total
        How many rows there are; None where that is known at their end.
    """

    def __init__(self, total: int | None) -> None:
        self._total, self._began, self._rows = total, time.monotonic(), 0

    def more(self, rows: int) -> None:
        """So many rows more are done, or about as many."""
        self._rows += rows
        seconds, total = max(time.monotonic() - self._began, 1e-9), self._total
        done = min(self._rows, total or self._rows)
        of, left = "", ""
        if total is not None:
            of, left = f" of {total:,}", f", {duration(seconds * (total - done) / max(done, 1))} left"
        phase(f"{done:,}{of} rows, {done / seconds:,.0f} rows/s{left}")
