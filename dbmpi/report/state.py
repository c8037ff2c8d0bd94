"""How a run stands: whether it has come to its end, goes on, or has ended without a word. Local."""

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from dbmpi.errors import STATUS_DIVERGED, STATUS_OK, STATUS_STOPPED, UserError
from dbmpi.logs.records import number
from dbmpi.logs.run import RunLog
from dbmpi.output.run_directory import METRICS
from dbmpi.output.summary import ENDED_BY
from dbmpi.ownership import record
from dbmpi.ownership.record import Owner
from dbmpi.report import numbers
from dbmpi.text import plain

Kind = Literal["good", "note", "warning", "bad"]


@dataclass(frozen=True)
class State:
    """How a run stands: in words, and how grave that is."""

    text: str
    kind: Kind


def state(run: RunLog) -> State:
    """Return how a run stands, by its files and its owner's record."""
    if not run.jobs and not run.summary:
        return _open(run, "no training is recorded yet")
    if run.finished or (run.jobs and run.jobs[-1].ended) or not run.jobs:
        return _ended(run)
    if run.schema == 1 and not run.jobs[-1].began and run.summary:  # 0.1.0 recorded no jobs
        return _ended(run)
    return _open(run, f"last record at {numbers.seconds(run.jobs[-1].last_s)} of training")


def _ended(run: RunLog) -> State:
    status = number(run.summary.get("status"), -1)
    reason = plain(str(run.summary.get("stop_reason", "")), 40).replace("_", " ")
    by = f" by {ENDED_BY.get(reason, reason)}" if reason else ""
    if status == STATUS_DIVERGED:
        return State(f"ended{by}: diverged, or could go no further (status {STATUS_DIVERGED})", "bad")
    if run.finished:
        return State(f"finished{by}", "good" if status in (STATUS_OK, -1) else "warning")
    if status == STATUS_STOPPED:
        return State(
            f"stopped{by} before its end (status {STATUS_STOPPED}): the same command, with its --run-dir, "
            "goes on",
            "warning",
        )
    told = f" (status {status:.0f})" if status >= 0 else ""
    return State(f"ended{by}{told}", "good" if status == STATUS_OK else "warning")


def _open(run: RunLog, last: str) -> State:
    """Return how a run stands that has recorded no end."""
    owner, silent_s = None, _age(run)
    with suppress(UserError):
        newest = record.generations(run.path)[:1]
        owner = Owner.of(record.read(run.path, newest[0])) if newest else None
    if owner is None or owner.is_over():
        return State(f"ended without recording an end, as when it is killed ({last})", "bad")
    if silent_s > owner.lease_s:
        return State(f"no sign of it for {numbers.seconds(silent_s)} ({last}): its host may be gone", "bad")
    return State(f"goes on ({last})", "note")


def _age(run: RunLog) -> float:
    """Return for how many seconds neither the owner's record nor a file of records has changed."""
    newest = 0.0
    with suppress(UserError, OSError):
        rooms = [record.room(run.path, one) / record.RECORD for one in record.generations(run.path)[:1]]
        for path in (*rooms, run.path / METRICS):
            with suppress(OSError):
                newest = max(newest, path.stat().st_mtime)
    return max(0.0, time.time() - newest)
