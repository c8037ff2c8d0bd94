"""The replicas of a run side by side, over the whole run. Pure."""

from collections.abc import Sequence

import numpy as np

from dbmpi.arrays import Array
from dbmpi.logs.records import Records
from dbmpi.report import numbers
from dbmpi.report.blocks import Bar, Cell, Table
from dbmpi.report.causes import CAUSES
from dbmpi.report.crowd import listed
from dbmpi.report.subject import Subject

MOST_OPEN = 16  # replicas whose table stands open
MOST = 256  # replicas that are shown: of more, the slowest


def by_replica(subject: Subject) -> list[Table]:
    """Return a table with a bar for the time of each replica; none where that is not recorded."""
    records = subject.run.records("replicas").valid
    waits = _waits(records)
    computed_s, learned, *waited = together(
        summed(records, "computed_s"), summed(records, "learned"), *waits.values()
    )
    waits = dict(zip(waits, waited, strict=True))
    busy_s = computed_s + np.sum(list(waits.values()), axis=0) if waits else computed_s
    if not np.nansum(busy_s) > 0:
        return []
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = learned / busy_s
    shown = _slowest(rate)
    rows: list[list[Cell | Bar]] = [
        [
            f"replica {i}",
            _bar([computed_s[i], *(wait[i] for wait in waits.values())], float(np.nanmax(busy_s))),
            numbers.seconds(busy_s[i]),
            numbers.percent(computed_s[i] / busy_s[i]) if busy_s[i] > 0 else None,
            float(learned[i]),
            numbers.short(rate[i]),
        ]
        for i in shown
    ]
    keys = [("c0", "computing"), *((f"c{n}", CAUSES[name]) for n, name in enumerate(waits, 1))]
    return [
        Table(
            "Time of each replica, its partitions together, over the whole run",
            ["", "computing and waiting", "seconds", "computing", "examples", "examples per second"],
            rows,
            f"The {len(shown)} slowest of {len(rate)}." if len(shown) < len(rate) else "",
            keys,
            folded=len(shown) > MOST_OPEN,
        )
    ]


def _slowest(rate: Array) -> list[int]:
    """Return which replicas are shown, ascending."""
    return sorted(np.argsort(rate, kind="stable")[:MOST].tolist())


def together(*arrays: Array) -> list[Array]:
    """Return arrays `(..., R)` with the R of the longest; what is added is not a number."""
    width = max(one.shape[-1] for one in arrays)
    added = [[(0, 0)] * (one.ndim - 1) + [(0, width - one.shape[-1])] for one in arrays]
    return [np.pad(one, by, constant_values=np.nan) for one, by in zip(arrays, added, strict=True)]


def summed(records: Records, field: str, within: str = "") -> Array:
    """Return the sum of a field over some records `replicas`, `(R,)`."""
    return np.asarray(np.nansum(listed(records, field, within), axis=0))


def _waits(records: Records) -> dict[str, Array]:
    found = {cause: summed(records, cause, "waits_s") for cause in CAUSES}
    return {cause: wait for cause, wait in found.items() if wait.sum() > 0}


def _bar(lengths: Sequence[float], most: float) -> Bar:
    ends = np.cumsum([0.0, *lengths]).tolist()
    return Bar([(ends[n], length, f"c{n}") for n, length in enumerate(lengths)], most)


def staleness(subject: Subject) -> Table | None:
    """Return the staleness of each replica's pushes over the whole run; None where it is not recorded."""
    records = subject.run.records("replicas").valid
    fields = "staleness_mean", "pushes", "staleness_max", "refused"
    means, pushes, largest, refused = together(*(listed(records, field) for field in fields))
    if not means.size or not np.nansum(pushes) > 0:
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.nansum(means * pushes, axis=0) / np.nansum(pushes, axis=0)
    most, refusals = np.nan_to_num(largest).max(axis=0), np.nansum(refused, axis=0)
    shown = sorted(np.argsort(-np.nan_to_num(mean), kind="stable")[:MOST].tolist())
    top = max(float(np.nanmax(mean)), 1e-9)
    rows: list[list[Cell | Bar]] = [
        [
            f"replica {i}",
            Bar([(0.0, float(np.nan_to_num(mean[i])), "c0")], top),
            numbers.number(mean[i]),
            float(most[i]),
            float(np.nansum(pushes[:, i])),
            float(refusals[i]) if np.isfinite(refused).any() else None,
        ]
        for i in shown
    ]
    head = ["", "mean staleness", "mean", "largest", "pushes", "refused"]
    return Table("Staleness of each replica's pushes", head, rows, folded=len(rows) > MOST_OPEN)
