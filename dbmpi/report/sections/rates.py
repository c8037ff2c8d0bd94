"""How fast it goes, by replica, and where the time of a minibatch goes. Pure."""

from collections.abc import Sequence

import numpy as np

from dbmpi.arrays import Array
from dbmpi.logs.records import Records, numbers
from dbmpi.report.blocks import Block, Chart, Column, Frame, Note, Section
from dbmpi.report.causes import CAUSES
from dbmpi.report.crowd import crowd, listed
from dbmpi.report.sections.events import marks
from dbmpi.report.sections.replicas import by_replica
from dbmpi.report.subject import Subject
from dbmpi.report.windows import Windows, grown, intervals

OLD = "The records of this run, of version 1, do not tell replicas apart: later versions do."
COMPUTED = "computing"


def overlay(subjects: Sequence[Subject]) -> Section | None:
    """Return the examples/s of several runs over one another; None where none is known."""
    frames = [frame for subject in subjects for frame in _overall(subject, subject.name, subject.number)]
    chart = Chart("Examples per second", "all replicas together", frames, from_zero=True)
    return Section("speed", "Speed", [chart]) if frames else None


def section(subject: Subject) -> Section | None:
    """Return the examples/s over all and by replica; None where nothing is known."""
    happened = marks(subject)
    records = subject.run.records("replicas").valid
    with np.errstate(divide="ignore", invalid="ignore"):
        rates = listed(records, "learned") / records.column("interval_s")[:, None]
    shown = {
        "Examples per second": ("all replicas together", _overall(subject, "all", 0)),
        "Examples per second of each replica": ("examples/s", crowd(subject, records, rates, "replica")),
    }
    charts = [Chart(name, *one, from_zero=True, marks=happened) for name, one in shown.items()]
    blocks: list[Block] = [chart for chart in charts if chart.frames]
    if blocks and not len(records) and subject.replicas > 1 and not subject.batch:
        blocks.append(Note(OLD))
    return Section("speed", "Speed", blocks) if blocks else None


def _overall(subject: Subject, name: str, colour: int) -> list[Frame]:
    records = subject.run.records("iteration" if subject.batch else "train")
    frames = []
    for part, again in ((records.valid, False), (records.done_again, True)):
        windows = Windows(part)
        rate = windows.mean(part.column("examples_per_s"))
        if np.isfinite(rate).any():
            called = f"{name}, done again" if again else name
            column = Column(called, rate, colour, "faded" if again else "line")
            frames.append(subject.frame(windows.last, [column]))
    return frames


def times(subject: Subject) -> Section | None:
    """Return where the time of a minibatch goes, by cause; None where that is not recorded."""
    train = subject.run.records("train").valid
    told = [row.get("waits") for row in train.rows]
    if not any(isinstance(one, dict) for one in told):
        return None
    windows, columns = Windows(train), _parts(subject, train, told)
    chart = Chart(
        "Time of a minibatch by cause",
        "ms of a replica",
        [subject.frame(windows.last, columns)],
        stacked=True,
        marks=marks(subject),
        note="What a replica takes for a minibatch, from one to the next, mean over its partitions.",
    )
    drawn = [chart] if any(np.isfinite(column.values).any() for column in columns) else []
    return Section("time", "Time by cause", [*drawn, *by_replica(subject)])


def _parts(subject: Subject, train: Records, told: Sequence[object]) -> list[Column]:
    """Return what a minibatch takes, ms `(w,)`: computing, and each wait."""
    windows = Windows(train)
    interval_s, steps = intervals(train), grown(train, "step")
    known = np.isfinite(interval_s) & np.isfinite(steps)
    seconds, count = (windows.sum(np.where(known, one, 0.0)) for one in (interval_s, steps))
    with np.errstate(divide="ignore", invalid="ignore"):
        step_ms = np.where(count > 0, 1e3 * seconds * subject.replicas / count, np.nan)
    parts = {cause: windows.mean(shares(told, cause)) for cause in CAUSES}
    parts = {cause: share for cause, share in parts.items() if np.nansum(share) > 0}
    waited = np.sum(list(parts.values()), axis=0) if parts else np.zeros(len(step_ms))
    columns = [Column(COMPUTED, step_ms * np.clip(1 - waited, 0, 1), 0)]
    listed_parts = enumerate(parts.items(), 1)
    return columns + [Column(CAUSES[cause], step_ms * share, i) for i, (cause, share) in listed_parts]


def shares(waits: Sequence[object], cause: str) -> Array:
    """Return the share of a cause in each of some objects of shares, `(n,)`; 0 where it is not told."""
    taken = [one.get(cause) if isinstance(one, dict) else None for one in waits]
    return np.nan_to_num(numbers(taken))
