"""Files that are listed in a CSV: the columns path and label and, if it has them, split and group."""

import csv
from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path
from typing import NamedTuple

from dbmpi.errors import UserError
from dbmpi.prepare import regular
from dbmpi.prepare.source import SPLITS, TRAIN
from dbmpi.prepare.table_file import check_names
from dbmpi.text import listed, show


class Listed(NamedTuple):
    """A file; label and group are empty where the table has none."""

    path: Path
    label: str
    split: str
    group: str
    line: int


def files_of(table: Path) -> Iterator[Listed]:
    """Yield what a table lists. A relative path starts at the folder of the table. Raises UserError."""
    try:
        with regular.opened(table) as stored, TextIOWrapper(stored, "utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, strict=True)
            names = rows.fieldnames or ()
            missing = [name for name in ("path", "label") if name not in names]
            if missing:
                raise UserError(
                    f"{table}: has no column {listed(missing)}; line 1 must name them, as in path,label,split"
                )
            check_names(table, names)
            for row in rows:
                if None in row:
                    raise UserError(
                        f"{table}: line {rows.line_num}: has more cells than line 1; put those with "
                        "commas in quotes"
                    )
                yield _listed(row, table, rows.line_num)
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(
            f"{table}: cannot be read as a CSV of paths and labels, in UTF-8: {regular.reason(error)}"
        ) from error


def _listed(row: dict[str, str], table: Path, line: int) -> Listed:
    split = row.get("split") or TRAIN
    if split not in SPLITS:
        raise UserError(f"{table}: line {line}: the split is {show(split)}; it must be {listed([*SPLITS])}")
    if not row["path"]:
        raise UserError(f"{table}: line {line}: has no path; write it, or take the line out")
    return Listed(table.parent / row["path"], row["label"] or "", split, row.get("group") or "", line)
