"""Writes the page, once or again and again while a run goes on."""

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from dbmpi.errors import CannotWrite, UserError
from dbmpi.files import replacing, writing
from dbmpi.logs.run import RunLog, open_run
from dbmpi.ownership.temporary import temporary
from dbmpi.report import csv_files
from dbmpi.report.content import content
from dbmpi.report.html.page import MARK, page
from dbmpi.report.subject import named

REMEDY = "look at the space and the rights there, or give another place with -o"


@dataclass(frozen=True)
class Asked:
    """What the user wants: pages of which runs, where, their records as tables, and how often anew."""

    runs: Sequence[Path]
    output: Path
    csv: Path | None = None
    watch_s: float = 0.0


def report(asked: Asked) -> None:
    """Write the page, and say where it is. Raises UserError."""
    _check_output(asked.output)
    runs = _written(asked)
    print(f"dbmpi: the report is in {asked.output.absolute()}: open it in a browser", flush=True)
    try:
        while asked.watch_s and not all(run.finished for run in runs):
            time.sleep(asked.watch_s)
            runs = _again(asked, runs)
    except KeyboardInterrupt:
        _written(Asked(asked.runs, asked.output))  # which does not read itself again
        raise


def _again(asked: Asked, before: Sequence[RunLog]) -> Sequence[RunLog]:
    """Write it anew; what cannot be read or written now may be able to be later."""
    try:
        return _written(asked)
    except UserError as error:
        print(f"dbmpi: warning: {error}; tries again", file=sys.stderr, flush=True)
        return before


def _written(asked: Asked) -> Sequence[RunLog]:
    """Write the page, and the tables if they are wanted; return the runs."""
    runs = [open_run(path) for path in asked.runs]
    over = all(run.finished for run in runs)
    now = f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S %Z}"
    try:
        _write(asked.output, page(content(runs), now, 0.0 if over else asked.watch_s))
        if asked.csv is not None:
            csv_files.write(named(runs), asked.csv)
    except CannotWrite as problem:
        raise CannotWrite(f"{problem}; {REMEDY}") from problem
    return runs


def _write(path: Path, text: str) -> None:
    """Write the page whole or not at all, whoever else writes it; a pipe is written to."""
    with writing(path):
        if path.exists() and not path.is_file():
            path.write_text(text, "utf-8")
            return
        with temporary(path.parent, f".{path.name}.") as room, replacing(path, room) as made:
            made.write_text(text, "utf-8")


def _check_output(path: Path) -> None:
    """Refuse to write over what is no report, as a file of the run. Raises UserError."""
    with writing(path):
        if path.is_dir():
            raise UserError(f"{path}: is a folder; name a file in it with -o")
        if not path.parent.is_dir():
            raise UserError(f"{path}: its folder is not there; make it, or give another place with -o")
        if not path.is_file() or not os.path.getsize(path):
            return
        with path.open("rb") as there:
            if there.read(len(MARK)) != MARK.encode():
                raise UserError(f"{path}: is there already, and no report; give another name with -o")
