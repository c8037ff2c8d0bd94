"""How the run learns: loss, accuracy and what else is measured; learning rate and gradient norm. Pure."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from dbmpi.logs.records import Records, number
from dbmpi.report.blocks import Chart, Frame, Mark, Note, Section
from dbmpi.report.sections.events import marks
from dbmpi.report.subject import Subject

SPLITS = ("test", "validation")
# Fields of an evaluation that are no measure of their own, or that have a chart of their own.
_NO_MEASURES = {"time_s", "step", "examples", "rows", "loss", "accuracy"}
_MOST_MEASURES = 8


def section(subjects: Sequence[Subject]) -> Section:
    """Return the curves of one run, or of several over one another."""
    happened = marks(subjects[0]) if len(subjects) == 1 else []
    charts = [
        Chart("Loss", "mean loss of an example", _scores(subjects, "loss"), logarithmic=True),
        Chart("Accuracy", "share of answers that are right", _scores(subjects, "accuracy")),
        *_more(subjects),
        Chart("Learning rate", "of the shards' rule", _each(subjects, "train", "learning_rate")),
        Chart(
            "Gradient norm",
            "root mean square",
            _each(subjects, "train", "gradient_norm") + _each(subjects, "iteration", "gradient_norm"),
            logarithmic=True,
        ),
    ]
    return Section("learning", "Learning", _drawn(charts, happened) or [Note(_nothing(subjects))])


def _drawn(charts: Iterable[Chart], happened: Sequence[Mark]) -> list[Chart]:
    """Return the charts that have curves, with marks."""
    return [
        Chart(one.title, one.unit, one.frames, logarithmic=one.logarithmic, marks=happened, note=one.note)
        for one in charts
        if one.frames
    ]


def _nothing(subjects: Sequence[Subject]) -> str:
    if all(subject.run.jobs for subject in subjects):
        return "No loss has been recorded yet: the first record of learning comes after output.every_s."
    return "No loss has been recorded yet: training has not begun."


def _scores(subjects: Sequence[Subject], field: str) -> list[Frame]:
    """Return a field on the training and on the held-out examples, and of the batch."""
    several = len(subjects) > 1
    frames = list[Frame]()
    for subject in subjects:
        colour, before = (subject.number, f"{subject.name}: ") if several else (0, "")
        train = subject.run.records("train")
        frames += subject.frames(train, {field: f"{before}training"}, colour)
        frames += subject.frames(
            subject.run.records("iteration"),
            {field: f"{before}batch, by iteration"},
            colour + 2 * (not several),
        )
        for i, (split, records) in enumerate(_evaluations(subject.run.records("eval")).items(), 1):
            shade = colour if several else i
            frames += subject.frames(records, {field: f"{before}{split}"}, shade, "dashed")
    return frames


def _evaluations(records: Records) -> Mapping[str, Records]:
    """Return evaluations by the split that they are of."""
    of = [row.get("split", "test") for row in records.rows]
    found = {split: records.at([i for i, one in enumerate(of) if one == split]) for split in SPLITS}
    return {split: part for split, part in found.items() if len(part)}


def _more(subjects: Sequence[Subject]) -> list[Chart]:
    """Return a chart for each other measure that evaluations have."""
    names: dict[str, None] = {}
    for subject in subjects:
        rows = subject.run.records("eval").rows
        for row in (*rows[:1], *rows[-1:]):
            names |= {name: None for name, value in row.items() if np.isfinite(number(value))}
    wanted = [name for name in names if name not in _NO_MEASURES][:_MOST_MEASURES]
    return [Chart(_title(name), "held-out examples", _measured(subjects, name)) for name in wanted]


def _title(name: str) -> str:
    words = name.replace("_", " ")
    return "R2" if name == "r2" else words[:1].upper() + words[1:60]


def _measured(subjects: Sequence[Subject], name: str) -> list[Frame]:
    frames = list[Frame]()
    for subject in subjects:
        for i, (split, records) in enumerate(_evaluations(subject.run.records("eval")).items(), 1):
            called, shade = (f"{subject.name}: {split}", subject.number) if len(subjects) > 1 else (split, i)
            frames += subject.frames(records, {name: called}, shade, "dashed")
    return frames


def _each(subjects: Sequence[Subject], kind: str, field: str) -> list[Frame]:
    """Return a field of a kind of records, a curve for each run."""
    return [
        frame
        for subject in subjects
        for frame in subject.frames(
            subject.run.records(kind),
            {field: subject.name if len(subjects) > 1 else field.replace("_", " ")},
            subject.number,
        )
    ]
