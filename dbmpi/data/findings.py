"""What the rows of a training set hold: ranges, deviations, the order of classes; how fast they come."""

import time
from dataclasses import dataclass

import numpy as np

from dbmpi.arrays import Array
from dbmpi.data.split import Split
from dbmpi.layout.boxes import Range

READ_VALUES = 1 << 22  # in one read
SAMPLE = 64  # stretches, of a set that is not all read
PORTION, STRETCHES = 1600, 8  # rows read at a time in training, about, and from how many places
MIXED = 0.5  # of the changes of class that a random order has: with fewer it is no random order
FEWEST_BYTES, MOST_BYTES = 8192, 16 << 20  # of a chunk: fewer or more make reading slow
STRETCH = 0.25  # of the rows: what one of four replicas learns from


@dataclass(frozen=True)
class Findings:
    """What inputs hold: least and most as stored; mean and deviations as the network sees them.

    `deviations` are the smallest and the largest of the columns that are not constant, and how many are.
    """

    rows: int
    least: float
    most: float
    mean: float
    deviation: float
    deviations: tuple[float, float, int]


def looked_over(train: Split, most_bytes: int | None) -> Findings:
    """Read inputs, all or as many bytes from all over the file; raises UserError as `Split.read`."""
    ranges = _sample(train, most_bytes)
    least, most, rows = np.inf, -np.inf, 0
    sum_I, squares_I, shift_I = np.zeros(train.inputs), np.zeros(train.inputs), np.zeros(train.inputs)
    for one in ranges:
        stored = train.read([one])
        least, most = min(least, float(stored.min())), max(most, float(stored.max()))
        seen_NI = stored.reshape(len(stored), -1) * train.scale + train.offset
        if not rows:
            shift_I = seen_NI.mean(axis=0, dtype=np.float64)  # so that sums of squares do not cancel
        away_NI = seen_NI - shift_I
        sum_I += away_NI.sum(axis=0)
        squares_I += (away_NI**2).sum(axis=0)
        rows += len(stored)
    mean_I = shift_I + sum_I / rows
    deviation_I = np.sqrt(np.maximum(squares_I / rows - (sum_I / rows) ** 2, 0))
    varied = deviation_I[deviation_I > 0]
    whole = float(np.sqrt((deviation_I**2).mean() + mean_I.var()))
    edges = (float(varied.min()), float(varied.max())) if varied.size else (0.0, 0.0)
    return Findings(rows, least, most, float(mean_I.mean()), whole, (*edges, int(train.inputs - varied.size)))


def _sample(train: Split, most_bytes: int | None) -> list[Range]:
    """Return ranges of rows to read, one after another."""
    row = train.inputs * train.dtype.itemsize
    step = max(1, READ_VALUES // train.inputs)
    if most_bytes is None or train.rows * row <= most_bytes:
        return [(start, min(start + step, train.rows)) for start in range(0, train.rows, step)]
    rows = max(1, min(step, most_bytes // (SAMPLE * row)))
    starts = np.linspace(0, train.rows - rows, SAMPLE).astype(int)
    return [(start, start + rows) for start in dict.fromkeys(starts.tolist())]


@dataclass(frozen=True)
class Order:
    """The classes of the training set: rows of each, `(K,)`, and how their order looks.

    `changes` counts neighbours of different classes, `random` how many there would be in random order;
    `first` are the different classes in the first quarter of the rows.
    """

    counts: Array
    changes: int
    random: float
    first: int

    def __str__(self) -> str:
        there = int((self.counts > 0).sum())
        if there < 2:
            return "there is one class only"
        if self.changes >= MIXED * self.random:
            return "random, as far as the classes show"
        kind = "sorted by class" if self.changes == there - 1 else "in runs of one class"
        return (
            f"{kind}: every replica learns from one stretch of rows, and one of four would see {self.first} "
            f"of the {there} classes; write the rows in a random order (python -m dbmpi.prepare does), or "
            "train with one replica"
        )


def order_of(train: Split) -> Order:
    """Look at all labels of the training set. Raises UserError as `Split.labels`."""
    counts, changes, last, first = np.zeros(0, np.int64), 0, None, 0
    quarter = max(1, int(train.rows * STRETCH))
    edges = sorted({*range(0, train.rows, READ_VALUES), quarter, train.rows})
    for start, stop in zip(edges, edges[1:], strict=False):
        labels_N = train.labels([(start, stop)])
        changes += int((np.diff(labels_N) != 0).sum()) + int(last is not None and labels_N[0] != last)
        last = labels_N[-1]
        counts = _added(counts, labels_N)
        if stop == quarter:
            first = int((counts > 0).sum())
    share = counts / max(train.rows, 1)
    return Order(counts, changes, float((1 - (share**2).sum()) * (train.rows - 1)), first)


def _added(counts: Array, labels_N: Array) -> Array:
    """Return the counts with those of some labels added."""
    more = np.bincount(labels_N, minlength=len(counts))
    more[: len(counts)] += counts
    return more


def of_chunks(shape: tuple[int, ...], chunks: tuple[int, ...], row_bytes: int) -> str:
    """Say what is wrong with chunks of inputs, whose row has so many bytes; nothing if they are well."""
    size = chunks[0] * row_bytes
    if chunks[1:] != shape[1:]:
        return "chunks cut rows apart: every chunk of a row is read for it; take chunks of whole rows"
    if size < FEWEST_BYTES <= shape[0] * row_bytes:
        return f"chunks of {size:,} bytes are small: reading is slow; take some 100 kB to 1 MB"
    if size > MOST_BYTES:
        return f"chunks of {size / 1e6:,.0f} MB are large: all of one is read for any row; take 1 MB or less"
    return ""


def speed_of(train: Split) -> str:
    """Say how fast rows are read, in stretches as training does."""
    rows = max(1, min(PORTION // STRETCHES, train.rows // STRETCHES))
    starts = np.linspace(0, train.rows - rows, STRETCHES).astype(int)
    ranges = [(start, start + rows) for start in dict.fromkeys(starts.tolist())]
    began = time.perf_counter()
    read = train.read(ranges)
    took_s = max(time.perf_counter() - began, 1e-9)
    return (
        f"reading: {len(read):,} rows in {len(ranges)} stretches took {1e3 * took_s:.3g} ms, "
        f"{read.nbytes / took_s / 1e6:,.3g} MB/s (from memory, if they were read before)"
    )
