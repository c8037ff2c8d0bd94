"""What an evaluation shows: a line of figures, a table by class, and what was taken for what. Pure."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dbmpi import files
from dbmpi.run.tables import table
from dbmpi.text import several, show

MOST_COLUMNS = 20  # classes of a confusion matrix that is shown
MOST_PAIRS = 20  # of more classes: the pairs that are confused most
MOST_LINES = 100  # classes that are shown one by one
TABLES = "classes", "labels", "targets", "confusion"
ABOUT = "model", "parameters", "data", "split", "rows"
SHARES = "accuracy", "precision", "recall", "f1"


def report(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is shown of `scores.scores` and what it is of, text by text."""
    yield f"model: {found['model']} ({found['parameters']} parameters)"
    yield f"data: {found['data']}, {found['split']}: {several(found['rows'], 'row')}"
    yield ""
    names = [name for name in found if name not in (*ABOUT, *TABLES)]
    width = max(map(len, names))
    for name in names:
        yield f"{_words(name):<{width}}  {_figure(name, found[name])}"
    for key in TABLES[:3]:
        if key in found:
            yield ""
            yield from _by_class(key, found[key])
    if "confusion" in found:
        yield ""
        yield from _confusion([one["name"] for one in found["classes"]], found["confusion"])


def json_text(found: Mapping[str, Any]) -> str:
    """Return all of it as JSON, each row of the confusion matrix on a line."""
    return re.sub(r"\[[\d,\s]+\]", lambda row: " ".join(row[0].split()), files.json_text(found))


def _by_class(key: str, rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    header = [{"classes": "class", "labels": "label", "targets": "target"}[key], *list(rows[0])[1:]]
    lines = [
        [_name(one["name"]), *(_figure(name, one[name]) for name in list(one)[1:])]
        for one in rows[:MOST_LINES]
    ]
    yield table([_words(name) for name in header], lines)
    if len(rows) > MOST_LINES:
        yield f"and {len(rows) - MOST_LINES:,} more (--json has all)"


def _confusion(names: Sequence[str], matrix: Sequence[Sequence[int]]) -> Iterator[str]:
    """Yield the matrix, or of many classes the largest numbers off its diagonal."""
    if len(names) <= MOST_COLUMNS:
        yield "rows of each class (down), by the class that they were taken for (across):"
        lines = [[_name(name), *map(str, row)] for name, row in zip(names, matrix, strict=True)]
        yield table(["", *map(_name, names)], lines)
        return
    pairs = [
        (count, true, said)
        for true, row in enumerate(matrix)
        for said, count in enumerate(row)
        if count and said != true
    ]
    if pairs:
        yield "confused most (--json has the whole matrix):"
        worst = sorted(pairs, key=lambda pair: -pair[0])[:MOST_PAIRS]
        yield table(
            ["class", "taken for", "rows"],
            [[_name(names[true]), _name(names[said]), str(count)] for count, true, said in worst],
            left=2,
        )


def _name(name: str) -> str:
    return show(name).strip('"')


def _words(name: str) -> str:
    return name.replace("_", " ").replace("f1", "F1").replace("r2", "R2")


def _figure(name: str, value: float | int | None) -> str:
    """Write a figure: shares in per cent."""
    if value is None:
        return "-"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.2%}" if any(name.endswith(share) for share in SHARES) else f"{value:.6g}"
