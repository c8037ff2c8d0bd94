"""What a page is made of, before it is HTML. Pure.

A section is a list of blocks: charts, which the browser draws from numbers, tables, drawings and notes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from dbmpi.arrays import Array

Cell = str | float | None  # None: nothing is known
Style = Literal["line", "dashed", "dots", "faded"]
# What charts may be drawn against, and what the page calls it.
AXES = {
    "time": "Training time (s)",
    "life": "Whole life of the run (s)",
    "examples": "Examples",
    "minibatches": "Minibatches",
    "updates": "Updates of the model",
    "iterations": "Iterations",
}


@dataclass(frozen=True)
class Column:
    """One curve: its name, its values `(n,)`, the number of its colour, and how it is drawn."""

    name: str
    values: Array
    colour: int = 0
    style: Style = "line"


@dataclass(frozen=True)
class Frame:
    """Curves of the same records.

    Parameters
    ----------
    axes
        Where each record is, `(n,)`, by the name of an axis.
    columns
        The curves.
    jobs : (n,)
        The job of each record: curves have a gap between jobs.
    """

    axes: Mapping[str, Array]
    columns: Sequence[Column]
    jobs: Array

    def __len__(self) -> int:
        return len(self.jobs)


@dataclass(frozen=True)
class Mark:
    """Something that happened: its number in the table of events, where it is on each axis, and its kind."""

    number: int
    axes: Mapping[str, float]
    about: str


@dataclass(frozen=True)
class Chart:
    """Curves against an axis.

    Parameters
    ----------
    title, unit
        What it shows, and in what.
    frames
        The curves.
    stacked
        Whether the columns of its one frame are parts of a whole.
    logarithmic
        Whether the page's switch makes its values logarithmic.
    from_zero
        Whether its values are shown from 0 on.
    own_axis
        Name of its axis, where that is `iteration` or the like and none of the page's.
    marks
        Events to be marked.
    note
        A sentence on how to read it.
    """

    title: str
    unit: str
    frames: Sequence[Frame]
    stacked: bool = False
    logarithmic: bool = False
    from_zero: bool = False
    own_axis: str = ""
    marks: Sequence[Mark] = ()
    note: str = ""


@dataclass(frozen=True)
class Bar:
    """A bar of parts: where each begins, how long it is, and its class; of a whole of `most`."""

    parts: Sequence[tuple[float, float, str]]
    most: float


@dataclass(frozen=True)
class Table:
    """A table: its caption, the heads of its columns, and rows of cells; `keys` explain colours."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[Cell | Bar]]
    note: str = ""
    keys: Sequence[tuple[str, str]] = ()
    folded: bool = False


@dataclass(frozen=True)
class Histogram:
    """How often each value from 0 on was seen: `counts` `(n,)`; `step` values share a bar.

    The last bar has all larger values too, where there are `more`.
    """

    caption: str
    counts: Array
    label: str
    step: int = 1
    more: bool = False


@dataclass(frozen=True)
class Matrix:
    """Values by row and column, `(m, n)`.

    `reading` says one of them, with {row}, {column} and {value}; colours go by the root of a value's share of
    the largest, or by the logarithm of what are `counts`.
    """

    caption: str
    values: Array
    rows: Sequence[str]
    columns: Sequence[str]
    row_name: str
    column_name: str
    reading: str
    note: str = ""
    counts: bool = False


@dataclass(frozen=True)
class Place:
    """A rank on the map: its number, what it does (a class, and words), and more about it."""

    rank: int
    kind: str
    short: str
    about: str


@dataclass(frozen=True)
class Map:
    """Ranks by node: the name of each node, what it has, and its ranks."""

    caption: str
    nodes: Sequence[tuple[str, Sequence[Place]]]
    keys: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Note:
    """A sentence in place of what there is not."""

    text: str


@dataclass(frozen=True)
class Code:
    """A text as it is, folded: its caption, and the text."""

    caption: str
    text: str


Block = Chart | Table | Histogram | Matrix | Map | Note | Code


@dataclass(frozen=True)
class Section:
    """A part of the page, with a heading."""

    key: str
    title: str
    blocks: Sequence[Block]
    lead: str = ""


@dataclass(frozen=True)
class Said:
    """A finding of the verdict: how grave, one sentence, the figure it rests on, and what to do."""

    severity: str
    text: str
    figure: str
    remedy: str


@dataclass(frozen=True)
class Figure:
    """A key figure: its name, its value, and a remark."""

    name: str
    value: str
    remark: str = ""


@dataclass(frozen=True)
class Head:
    """What stands at the top for one run: its name, how it stands, the verdict, key figures."""

    name: str
    path: str
    state: str
    state_kind: str
    verdict: Sequence[Said]
    figures: Sequence[Figure]
    problems: Sequence[str] = field(default_factory=tuple)
