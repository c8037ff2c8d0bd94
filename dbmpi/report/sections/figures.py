"""The key figures of a run, and those of several in one table. Pure."""

from collections.abc import Iterator, Sequence

import numpy as np

from dbmpi.logs.records import Records, number
from dbmpi.report import numbers
from dbmpi.report.blocks import Cell, Figure, Section, Table
from dbmpi.report.sections.spent import spent
from dbmpi.report.subject import Subject
from dbmpi.text import several

# Of summary.json: shown where there were any.
LOST = {
    "examples_dropped": ("Examples dropped", "too late for their rounds"),
    "rows_lost": ("Examples lost", "with replicas that died"),
    "updates_lost": ("Updates lost", "with shards that died, about"),
}


def figures(subject: Subject) -> list[Figure]:
    """Return the key figures: of the records, and of the summary where there is one."""
    return [one for one in _figures(subject) if one.value != numbers.UNKNOWN]


def _figures(subject: Subject) -> Iterator[Figure]:
    run = subject.run
    train, evaluations = run.records("train").valid, run.records("eval").valid
    evaluated = f"after {numbers.short(_last(evaluations, 'examples'))} examples" if len(evaluations) else ""
    split = str(evaluations.rows[-1].get("split", "test")) if len(evaluations) else "test"
    yield Figure(f"{split[:20].capitalize()} accuracy", _percent(_last(evaluations, "accuracy")), evaluated)
    yield Figure(f"{split[:20].capitalize()} loss", numbers.number(_last(evaluations, "loss")), evaluated)
    yield Figure("Training loss", numbers.number(_loss(subject)), "last record")
    yield from _course(subject, train)
    yield from _asynchrony(subject)


def _loss(subject: Subject) -> float:
    found = _last(subject.run.records("train").valid, "loss")
    return found if np.isfinite(found) else _last(subject.run.records("iteration").valid, "loss")


def _course(subject: Subject, train: Records) -> Iterator[Figure]:
    run = subject.run
    rate, passed_s = subject.summed("examples_per_s"), subject.summed("train_s")
    if not np.isfinite(rate) and len(train):
        rate = float(np.nanmedian(train.column("examples_per_s")))
    last = max(run.log.kinds.values(), key=lambda one: one.column("time_s")[-1], default=None)
    if not np.isfinite(passed_s):
        passed_s = run.jobs[-1].last_s if run.jobs else np.nan
    examples = _last(last, "examples") if last is not None else np.nan
    yield Figure("Examples per second", numbers.short(rate) if np.isfinite(rate) else numbers.UNKNOWN)
    epochs = _last(train, "epoch")
    told = f"{numbers.number(round(epochs, 2))} epochs" if np.isfinite(epochs) else ""
    yield Figure("Examples", numbers.short(examples) if np.isfinite(examples) else numbers.UNKNOWN, told)
    jobs = several(len(run.jobs), "job")
    yield Figure("Training time", numbers.seconds(passed_s), jobs)


def _asynchrony(subject: Subject) -> Iterator[Figure]:
    refused = sum(number(one, 0.0) for one in subject.table("refused").values())
    updates, (staleness, largest) = subject.summed("updates"), _staleness(subject)
    if np.isfinite(staleness):
        yield Figure("Mean staleness", numbers.number(staleness), f"at most {numbers.number(largest)}")
    if updates > 0:
        yield Figure("Updates", numbers.short(updates), f"{numbers.number(refused)} pushes of pieces refused")
    if subject.batch:
        iterations = subject.run.records("iteration").valid
        passes = numbers.number(float(np.nansum(iterations.column("evaluations"))))
        yield Figure("Iterations", numbers.number(_last(iterations, "iteration")), f"{passes} passes")
    found = spent(subject)
    yield Figure(
        "Goodput", _percent(found.goodput if found is not None else np.nan), "of the partitions' time"
    )
    for name, told in LOST.items():
        if subject.summed(name) > 0:
            yield Figure(told[0], numbers.short(subject.summed(name)), told[1])
    yield Figure("Core share", _percent(subject.summed("core_share")), "CPU time of the time computed")


def _staleness(subject: Subject) -> tuple[float, float]:
    """Return the mean and the largest staleness: of the whole run, or so far, by its train records."""
    if subject.run.result:
        told = subject.summed("updates") > 0
        return (
            (subject.summed("staleness_mean"), subject.summed("staleness_max")) if told else (np.nan, np.nan)
        )
    train = subject.run.records("train").valid
    means, largest = train.column("staleness_mean"), train.column("staleness_max")
    known = np.isfinite(means) & np.isfinite(largest) & (train.column("interval_s") > 0)
    if not known.any():
        return np.nan, np.nan
    return float(np.average(means[known], weights=train.column("interval_s")[known])), largest[known].max()


def _last(records: Records, field: str) -> float:
    return float(records.column(field)[-1]) if len(records) else np.nan


def _percent(value: float) -> str:
    return numbers.percent(value) if np.isfinite(value) else numbers.UNKNOWN


def compared(subjects: Sequence[Subject], states: Sequence[str]) -> Section:
    """Return the key figures of several runs, a row each."""
    all_of = [{one.name: one.value for one in figures(subject)} for subject in subjects]
    names = list(dict.fromkeys(name for one in all_of for name in one))
    rows: list[list[Cell]] = [
        [subject.name, state, *(one.get(name) for name in names)]
        for subject, state, one in zip(subjects, states, all_of, strict=True)
    ]
    return Section(
        "figures", "Key figures", [Table("Key figures of each run", ["run", "state", *names], rows)]
    )
