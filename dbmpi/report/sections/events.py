"""What happened: the events of a run, as a table and as marks on the axes. Pure."""

from collections.abc import Sequence

import numpy as np

from dbmpi.logs.records import Fields, Records
from dbmpi.report import numbers
from dbmpi.report.blocks import AXES, Cell, Mark, Section, Table
from dbmpi.report.subject import Subject
from dbmpi.text import plain

MOST = 200  # events that are shown: of more, the first and the last
ABOUT = {
    "death": "a death",
    "resume": "a resumption",
    "silence": "silence",
    "signal": "a signal",
    "checkpoint": "a checkpoint",
    "output": "output",
    "learning": "learning",
    "other": "other",
}
# Words by which events of version 1 tell what they are about.
_WORDS = {"died": "death", "goes on from": "resume", "no sign of life": "silence", "the run stops": "signal"}


def about(event: Fields) -> str:
    """Return what an event is about, a key of `ABOUT`."""
    told = event.get("about")
    if isinstance(told, str):
        return told if told in ABOUT else "other"
    text = str(event.get("text", ""))
    return next((kind for words, kind in _WORDS.items() if words in text), "other")


def shown(subject: Subject) -> tuple[Records, list[int]]:
    """Return the events that are shown, and the number of each."""
    events = subject.run.records("event")
    indices = list(range(len(events)))
    if len(indices) > MOST:
        indices = [*indices[: MOST // 4], *indices[-(MOST - MOST // 4) :]]
    return events.at(indices), [i + 1 for i in indices]


def marks(subject: Subject) -> Sequence[Mark]:
    """Return the events as marks on charts."""
    events, numbered = shown(subject)
    axes = subject.axes(events)
    return [
        Mark(number, {axis: float(values[i]) for axis, values in axes.items()}, about(events.rows[i]))
        for i, number in enumerate(numbered)
    ]


def section(subject: Subject) -> Section | None:
    """Return the table of events; None where nothing happened."""
    events, numbered = shown(subject)
    if not len(events):
        return None
    life_s, examples = events.life_s.tolist(), events.column("examples").tolist()
    rows: list[list[Cell]] = [
        [
            str(number),
            numbers.seconds(life_s[i]),
            examples[i] if np.isfinite(examples[i]) else None,
            ABOUT[about(events.rows[i])],
            plain(str(events.rows[i].get("text", ""))),
        ]
        for i, number in enumerate(numbered)
    ]
    all_of = len(subject.run.records("event"))
    left = f" {all_of - len(rows)} of {all_of} are left out." if all_of > len(rows) else ""
    note = f"The numbers stand on the charts too, at the lines of their events.{left}"
    head = ["", f"{AXES['life'].partition(' (')[0]}", "examples", "about", "what happened"]
    return Section(
        "events", "Events", [Table("Events in the order in which they were recorded", head, rows, note)]
    )
