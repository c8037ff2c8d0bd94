"""Curves of many of a kind: each of a few, or the least, the median and the largest of a crowd. Pure."""

import warnings
from collections.abc import Mapping

import numpy as np

from dbmpi.arrays import Array
from dbmpi.logs.records import Records, numbers
from dbmpi.report.blocks import Column, Frame
from dbmpi.report.subject import Subject

FEW = 8  # that are drawn one by one: as many colours as can be told apart
MOST = 4096  # entries of a list that are read


def listed(records: Records, field: str, within: str = "") -> Array:
    """Return a field that is a list with an entry for each replica, `(n, R)`; not a number where one lacks.

    `within` is the object that holds the field, where that is not the record itself.
    """
    rows = [_list_of(row.get(within) if within else row, field) for row in records.rows]
    found = np.full((len(rows), max(map(len, rows), default=0)), np.nan)
    there = np.arange(found.shape[1]) < np.array([len(row) for row in rows], int)[:, None]
    found[there] = numbers([one for row in rows for one in row])
    return found


def _list_of(row: object, field: str) -> list[object]:
    values = row.get(field) if isinstance(row, Mapping) else None
    return values[:MOST] if isinstance(values, list) else []


def rounds(records: Records, values: Array, field: str = "shard") -> tuple[Records, Array]:
    """Return records of one of a crowd each as rows of all: the last record of each round, and `(n, S)`.

    The k-th record of each belongs to round k of a job.
    """
    of, jobs = records.column(field), records.jobs.tolist()
    count: dict[tuple[int, float], int] = {}
    keys = []
    for job, one in zip(jobs, of.tolist(), strict=True):
        count[job, one] = count.get((job, one), -1) + 1
        keys.append((job, count[job, one]))
    row_of = {key: i for i, key in enumerate(sorted(set(keys)))}
    names = {one: i for i, one in enumerate(sorted({one for one in of.tolist() if one == one}))}
    found, last = np.full((len(row_of), len(names)), np.nan), [0] * len(row_of)
    for i, (key, one) in enumerate(zip(keys, of.tolist(), strict=True)):
        if one in names:
            found[row_of[key], names[one]] = values[i]
            last[row_of[key]] = i
    return records.at(last), found


def crowd(subject: Subject, records: Records, values: Array, name: str) -> list[Frame]:
    """Return the curves of values `(n, m)` of some records, m of a kind called `name`."""
    if not np.isfinite(values).any():
        return []
    if values.shape[1] <= FEW:
        columns = [Column(f"{name} {i}", values[:, i], i) for i in range(values.shape[1])]
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # rows of which nothing is known
            least, median, most = np.nanmin(values, 1), np.nanmedian(values, 1), np.nanmax(values, 1)
        names = f"least of {values.shape[1]} {name}s", "median", "largest"
        columns = [Column(*one) for one in zip(names, (least, median, most), (3, 0, 2), strict=True)]
    return [subject.frame(records, [one for one in columns if np.isfinite(one.values).any()])]
