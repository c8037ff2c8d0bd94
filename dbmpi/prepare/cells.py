"""What the cells of a table say: nothing, a number, a date, yes or no."""

from dataclasses import dataclass
from datetime import UTC, datetime

MISSING = frozenset(("", "NA", "N/A", "n/a", "na", "<NA>", "NaN", "nan", "NaT", "NULL", "null", "None", "?"))
MEMBERS = {"true": 1.0, "yes": 1.0, "false": 0.0, "no": 0.0}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Cells:
    """How cells are written.

    Attributes
    ----------
    decimal
        What stands before the decimals of a number.
    thousands
        What stands between its thousands; empty for nothing.
    empty
        Texts that stand for nothing, beside `MISSING`.
    """

    decimal: str = "."
    thousands: str = ""
    empty: frozenset[str] = frozenset()

    @property
    def are_plain(self) -> bool:
        """Whether numbers are written as Python, and so numpy, reads them."""
        return self.decimal == "." and not self.thousands and not self.empty

    def is_missing(self, cell: str) -> bool:
        """Return whether a cell, without blanks around it, says nothing."""
        return cell in MISSING or cell in self.empty

    def number(self, cell: str) -> float:
        """Return the number in a cell. Raises ValueError where there is none."""
        if self.thousands:
            cell = cell.replace(self.thousands, "")
        return float(cell if self.decimal == "." else cell.replace(self.decimal, "."))


AS_PYTHON = Cells()


def days(cell: str, form: str) -> float:
    """Return the days from 1970 to a date, with parts of a day where it has a time. Raises ValueError.

    The form is that of `datetime.strptime`, as "%d.%m.%Y"; where it is empty, dates are as ISO 8601 says.
    """
    when = datetime.strptime(cell, form) if form else datetime.fromisoformat(cell)
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return (when - EPOCH).total_seconds() / 86400


def as_member(cell: str) -> float | None:
    """Return 1 or 0 where a cell says so in a word; else None."""
    return MEMBERS.get(cell.lower())
