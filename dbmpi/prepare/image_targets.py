"""What the labels of listed images are: the class that their folder is named for, or columns of a table."""

from itertools import islice
from pathlib import Path

from dbmpi.prepare.columns import CATEGORY, WHOLE, Column
from dbmpi.prepare.listing import Listing, files_of, labels_of
from dbmpi.prepare.target_columns import Learned, TargetColumns, kinds_of

LOOKED_AT = 4096  # rows of a table


def of_folder() -> TargetColumns:
    """Return that there is one label, a class."""
    return TargetColumns([Column("label", 0, CATEGORY)])


def are_grouped(table: Path, listing: Listing) -> bool:
    """Return whether images of a table have groups."""
    return any(one.group for one in islice(files_of(table, listing), 1))


def of_table(table: Path, listing: Listing, task: str | None, separator: str | None) -> TargetColumns:
    """Return what labels of a table are, by its first rows. Raises UserError."""
    learned = Learned(labels_of(table, listing), task, separator)
    rows = [one.labels for one in islice(files_of(table, listing), LOOKED_AT)]
    kinds = kinds_of([*zip(*rows, strict=True)] or [() for _ in learned.names], learned)
    columns = [
        Column(name, place, CATEGORY if kind == WHOLE else kind)
        for place, (name, kind) in enumerate(zip(learned.names, kinds, strict=True))
    ]
    return TargetColumns(columns, separator)
