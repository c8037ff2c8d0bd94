"""What the model answers, class by class, on the held-out examples. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dbmpi.arrays import Array
from dbmpi.logs.records import number
from dbmpi.report import numbers
from dbmpi.report.blocks import Bar, Block, Cell, Matrix, Section, Table
from dbmpi.report.subject import Subject
from dbmpi.text import plain

MOST = 100  # classes that are shown one by one
MOST_PAIRS = 15
LONGEST_NAME = 24


def section(subject: Subject) -> Section | None:
    """Return confusion and recall of the last evaluation that has them; None where none has."""
    evaluations = [row for row in subject.run.records("eval").valid.rows if row.get("final") is True]
    blocks: list[Block] = []
    confusion = _confusion(evaluations)
    recall = _last(evaluations, "recall")
    count = len(confusion) if confusion is not None else len(recall)
    names = _names(subject, count)
    if confusion is not None:
        blocks += [_matrix(confusion, names), *_pairs(confusion, names)]
    if recall:
        blocks.append(_recall(recall, _names(subject, len(recall))))
    return Section("classes", "Classes", blocks) if blocks else None


def _last(rows: Sequence[Mapping[str, Any]], field: str) -> list[float]:
    """Return the last list of numbers that some records have."""
    found = [row[field] for row in rows if isinstance(row.get(field), list) and row[field]]
    return [number(one) for one in found[-1]] if found else []


def _confusion(rows: Sequence[Mapping[str, Any]]) -> Array | None:
    """Return the last confusion matrix, `(K, K)`; None where none is square and small enough."""
    for row in reversed(rows):
        found = row.get("confusion")
        if isinstance(found, list) and 0 < len(found) <= MOST:
            lines = [[number(one, 0.0) for one in line] if isinstance(line, list) else [] for line in found]
            if all(len(line) == len(lines) for line in lines):
                return np.array(lines)
    return None


def _names(subject: Subject, count: int) -> list[str]:
    data = subject.run.described.get("data")
    told = data.get("class_names") if isinstance(data, dict) else None
    names = [plain(str(one), LONGEST_NAME) for one in told] if isinstance(told, list) else []
    return names if len(names) == count else [str(i) for i in range(count)]


def _matrix(confusion: Array, names: Sequence[str]) -> Matrix:
    right = numbers.percent(float(np.trace(confusion) / max(confusion.sum(), 1)))
    return Matrix(
        "Confusion matrix: what was said of each class",
        confusion,
        names,
        names,
        "true class",
        "said",
        "{row} was taken for {column}: {value} examples",
        f"Rows are true classes, columns what the model said: {right} lie on the diagonal.",
        counts=True,
    )


def _pairs(confusion: Array, names: Sequence[str]) -> list[Table]:
    """Return the commonest confusions."""
    wrong = confusion * (1 - np.eye(len(confusion)))
    order = np.argsort(-wrong, axis=None, kind="stable")[:MOST_PAIRS]
    at = [divmod(int(one), len(confusion)) for one in order]
    rows: list[Sequence[Cell]] = [
        [names[i], names[j], float(wrong[i, j]), numbers.percent(float(wrong[i, j] / confusion[i].sum()))]
        for i, j in at
        if wrong[i, j] > 0
    ]
    head = ["true class", "taken for", "examples", "of the class"]
    return [Table("Commonest confusions", head, rows, folded=True)] if rows else []


def _recall(recall: Sequence[float], names: Sequence[str]) -> Table:
    known = [(value, name) for value, name in zip(recall, names, strict=True) if value == value]
    shown = known if len(known) <= MOST else sorted(known)[:MOST]
    note = f"The {MOST} worst of {len(known)}." if len(known) > MOST else ""
    rows: list[Sequence[Cell | Bar]] = [
        [name, Bar([(0.0, value, "c0")], 1.0), numbers.percent(value)] for value, name in shown
    ]
    head = ["class", "share of its examples that are recognized", ""]
    return Table("Recall of each class", head, rows, note, folded=len(rows) > 12)
