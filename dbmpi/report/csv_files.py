"""The records of runs as tables for other programs: one CSV file for each kind."""

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dbmpi.logs.records import Fields, Records
from dbmpi.ownership.placed import placed, told
from dbmpi.report.subject import Subject

OPTION = "--csv"
OWN = ("run", "job", "life_s", "superseded")  # columns that no record has
OTHERS = "others"  # where kinds go whose names no file should have
NAME = r"[a-z][a-z0-9_]{0,30}"
FORMULA = tuple("=+-@\t\r")  # what a spreadsheet takes for more than text


def write(subjects: Sequence[Subject], folder: Path) -> list[Path]:
    """Write a file for each kind of record, the records of all runs one after another; return their paths.

    Raises
    ------
    CannotWrite
        The folder cannot be made, or a file cannot be written.
    """
    with told(folder, OPTION):
        folder.mkdir(parents=True, exist_ok=True)
    names = dict.fromkeys(kind for one in subjects for kind in one.run.log.kinds)
    files: dict[str, list[dict[str, Any]]] = {}
    for kind in names:
        rows = files.setdefault(kind if re.fullmatch(NAME, kind) else OTHERS, [])
        rows += [row for subject in subjects for row in _rows(subject, subject.run.records(kind))]
    for name, rows in files.items():
        with placed(folder / f"{name}.csv", OPTION) as path:
            path.write_text(table(rows), "utf-8")
    return [folder / f"{name}.csv" for name in files]


def _rows(subject: Subject, records: Records) -> Iterator[dict[str, Any]]:
    of = zip(
        records.rows, records.jobs.tolist(), records.life_s.tolist(), records.superseded.tolist(), strict=True
    )
    for row, job, life_s, again in of:
        own = dict(zip(OWN, (subject.name, job + 1, round(life_s, 4), again), strict=True))
        yield own | dict(_flat(row, ""))


def _flat(record: Fields, before: str) -> Iterator[tuple[str, Any]]:
    """Yield the fields of a record; those of an object in it as `waits.fetch`."""
    for name, value in record.items():
        if isinstance(value, Mapping):
            yield from _flat(dict(value), f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as CSV, with a column for each field that some row has."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([_cell(name) for name in names])
    writer.writerows([_cell(row.get(name)) for name in names] for row in rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    """Return a value as it stands in a table: lists as JSON, nothing for null; a text is never a formula."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return json.dumps(value)
    if isinstance(value, str):
        text = value.encode("utf-8", "backslashreplace").decode()
        return f"'{text}" if text.startswith(FORMULA) else text
    return value
