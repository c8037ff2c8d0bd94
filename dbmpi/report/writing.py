"""Writes the page, once or again and again while a run goes on."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from dbmpi.errors import UserError
from dbmpi.logs.run import RunLog, open_run
from dbmpi.ownership.placed import check, placed
from dbmpi.report import csv_files
from dbmpi.report.content import content
from dbmpi.report.html.page import MARK, page
from dbmpi.report.subject import named


@dataclass(frozen=True)
class Asked:
    """What the user wants: pages of which runs, where, their records as tables, and how often anew."""

    runs: Sequence[Path]
    output: Path
    csv: Path | None = None
    watch_s: float = 0.0


def report(asked: Asked) -> None:
    """Write the page, and say where it is. Raises UserError."""
    check(asked.output, (MARK.encode(),), "report")
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
    text = page(content(runs), now, 0.0 if over else asked.watch_s)
    with placed(asked.output) as path:
        path.write_text(text, "utf-8")
    if asked.csv is not None:
        csv_files.write(named(runs), asked.csv)
    return runs
