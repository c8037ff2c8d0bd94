"""What has become of a run: whether it runs, who says so and since when, or how it has ended. Reads only."""

import math
import shlex
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dbmpi.errors import STATUS_FAILURE, STATUS_OK, STATUS_STOPPED
from dbmpi.logs.records import whole
from dbmpi.logs.regular import regular
from dbmpi.logs.run import RunLog
from dbmpi.output import run_directory
from dbmpi.output.view import duration
from dbmpi.ownership import record
from dbmpi.ownership.record import Owner
from dbmpi.text import decoded, has_control

LONGEST = 200  # characters of what a file says
LARGEST_STATUS = 255  # of a process


@dataclass(frozen=True)
class State:
    """What has become of a run.

    Parameters
    ----------
    text
        That, in a line: with the command to go on, where there is something to go on with.
    runs
        Whether it may go on by itself.
    status
        0 where it runs, or has finished; else that of its last job, or 1 where nobody has said one.
    """

    text: str
    runs: bool
    status: int


@dataclass(frozen=True)
class Holder:
    """Who has a run directory, and how many seconds ago its lease was renewed, as the file system says."""

    owner: Owner | None
    renewed_s: float


def holder(path: Path) -> Holder | None:
    """Return the last owner of a run directory; None where it has had none, as in version 0.1.0.

    Raises
    ------
    UserError
        That cannot be seen.
    """
    newest = max(record.generations(path), default=0)
    if not newest:
        return None
    renewed_s = math.nan
    with suppress(OSError):
        renewed_s = time.time() - (record.room(path, newest) / record.RECORD).stat().st_mtime
    return Holder(Owner.of(record.read(path, newest)), max(0.0, renewed_s))


def state_of(run: RunLog) -> State:
    """Return what has become of a run. Raises as `holder`."""
    held = holder(run.path)
    owner = held.owner if held is not None else None
    if held is not None and owner is not None and not owner.is_over():
        return _held(run, owner, held.renewed_s)
    if run.finished:
        status = _status(run.summary, STATUS_OK)
        how = "finished" if status == STATUS_OK else f"ended with status {status}"  # as one that diverged
        return State(f"{how}: {_reason(run)}", runs=False, status=status)
    if held is not None and owner is None:
        text = f"unknown: the record of its owner, in {run.path / record.OWNER}, cannot be read"
        return State(text, runs=False, status=STATUS_FAILURE)
    if owner is not None and not owner.ended:
        text = f"gone: {owner.identity} runs no more, and has not said how it ended; {go_on(run)}"
        return State(text, runs=False, status=STATUS_FAILURE)
    return _ended(run)


def _held(run: RunLog, owner: Owner, renewed_s: float) -> State:
    """Return the state of a run whose owner may be alive."""
    if not renewed_s > owner.lease_s:
        renewed = "" if math.isnan(renewed_s) else f"; lease renewed {ago(renewed_s)}"
        return State(f"running: {owner}{renewed}", runs=True, status=STATUS_OK)
    text = (
        f"silent: the lease of {owner.identity} has run out (renewed {ago(renewed_s)}, it holds for "
        f"{owner.lease_s:g} s): that process stands still, or its host is gone; {go_on(run)} --wait"
    )
    return State(text, runs=False, status=STATUS_FAILURE)


def ago(seconds: float) -> str:
    """Return how long ago something was, in words."""
    days = seconds / 86_400
    return f"{days:.0f} days ago" if days >= 2 else f"{duration(max(0.0, seconds))} ago"


def _ended(run: RunLog) -> State:
    """Return the state of a run that nobody has, and that has not finished."""
    told = bool(run.result)
    status = _status(run.result, STATUS_FAILURE)
    if told and status == STATUS_STOPPED:
        text = f"stopped: {_reason(run)}; {go_on(run)}"
    elif told:
        text = f"ended with status {status}: {_reason(run)}; {go_on(run)}"
    else:
        text = f"ended before its end, and has not said how; {go_on(run)}"
    return State(text, runs=False, status=status)


def _status(summary: Mapping[str, Any], other: int) -> int:
    """Return the exit status that a job has said; `other` where it has said none that there is."""
    said = whole(summary.get("status"))
    return said if 0 <= said <= LARGEST_STATUS else other


def _reason(run: RunLog) -> str:
    """Return why the last job ended, as it has said."""
    said = run.summary.get("stop_reason")
    if not said and run.finished:
        with suppress(OSError), regular(run.path / run_directory.FINISHED) as file:
            said = decoded(file.read(LONGEST)).strip()
    text = said if isinstance(said, str) else ""
    return "no reason is told" if not text or has_control(text) else text[:LONGEST]


def go_on(run: RunLog) -> str:
    """Return the command that goes on with a run, in words."""
    ranks = run.described.get("ranks")
    count = len(ranks) if isinstance(ranks, list) else 1
    launcher = f"mpirun -n {count} " if count > 1 else ""
    place = shlex.quote(str(run.path))
    config = shlex.quote(str(run.path / run_directory.CONFIG))
    return f"go on with: {launcher}python -m dbmpi.train {config} --run-dir {place}"
