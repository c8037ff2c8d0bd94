"""What a page holds: the sections of one run, or of several side by side."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from dbmpi.errors import STATUS_FAILURE, STATUS_OK, STATUS_STOPPED, UserError
from dbmpi.logs.run import RunLog
from dbmpi.logs.state import State, state_of
from dbmpi.report.blocks import Head, Section
from dbmpi.report.sections import (
    batch,
    checkpoints,
    classes,
    differences,
    events,
    figures,
    learning,
    life,
    ranks,
    rates,
    setting,
    shards,
    staleness,
)
from dbmpi.report.sections.verdict import said
from dbmpi.report.subject import Subject, named
from dbmpi.text import plain, several

GRAVE = {STATUS_OK: "good", STATUS_STOPPED: "warning"}  # any other status: bad
MOST_WHOLE = 6  # runs that are shown one by one, too, where there are several
OF_ONE: tuple[Callable[[Subject], Section | None], ...] = (
    rates.section,
    rates.times,
    staleness.section,
    life.section,
    batch.section,
    classes.section,
    shards.section,
    ranks.traffic,
    ranks.section,
    checkpoints.section,
    events.section,
    setting.section,
)


@dataclass(frozen=True)
class Content:
    """A page: the heads of its runs, its sections, and those of each run where there are several."""

    heads: Sequence[Head]
    sections: Sequence[Section]
    each: Sequence[tuple[str, Sequence[Section]]]


def content(runs: Sequence[RunLog]) -> Content:
    """Return what a page of some runs holds; whatever numbers their records have."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # means of what is nowhere known
        return _content(runs)


def _content(runs: Sequence[RunLog]) -> Content:
    subjects = named(runs)
    states = [_state(run) for run in runs]
    heads = [_head(subject, how) for subject, how in zip(subjects, states, strict=True)]
    if len(subjects) == 1:
        return Content(heads, [learning.section(subjects), *_sections(subjects[0])], ())
    compared = [
        figures.compared(subjects, [how.text.partition(" (")[0].partition(":")[0] for how in states]),
        differences.section(subjects),
        learning.section(subjects),
        rates.overlay(subjects),
        staleness.overlay(subjects),
    ]
    whole = subjects if len(subjects) <= MOST_WHOLE else []
    each = [(one.name, _sections(replace(one, number=0), f"run{one.number}-")) for one in whole]
    return Content(heads, [one for one in compared if one is not None], each)


def _sections(subject: Subject, before: str = "") -> list[Section]:
    """Return the sections of one run for which there is something to show."""
    made = [make(subject) for make in OF_ONE]
    return [replace(one, key=f"{before}{one.key}") for one in made if one is not None and one.blocks]


def _state(run: RunLog) -> State:
    """Return what has become of a run."""
    try:
        return state_of(run)
    except UserError as error:
        return State(str(error), runs=False, status=STATUS_FAILURE)


def _head(subject: Subject, how: State) -> Head:
    run = subject.run
    kind = "note" if how.runs else GRAVE.get(how.status, "bad")
    problems = [plain(one) for one in run.problems]
    if run.log.broken:
        lines = several(run.log.broken, "line")
        problems.append(f"{lines} of its metrics.jsonl are no records, as where a job was killed meanwhile")
    path, said_of, told = plain(str(run.path)), said(run), figures.figures(subject)
    return Head(subject.name, path, plain(how.text), kind, said_of, told, problems)
