"""How old gradients are when they are applied: over time, by shard and by replica. Pure."""

from collections.abc import Sequence

import numpy as np

from dbmpi.arrays import Array
from dbmpi.logs.records import LARGEST, Records
from dbmpi.logs.records import numbers as as_numbers
from dbmpi.report import numbers
from dbmpi.report.blocks import Block, Cell, Chart, Column, Frame, Histogram, Matrix, Section, Table
from dbmpi.report.crowd import FEW, rounds
from dbmpi.report.sections.events import marks
from dbmpi.report.sections.replicas import staleness as by_replica
from dbmpi.report.subject import Subject, gains

MOST_BARS = 40
COUNTED_TOGETHER = 255  # by shards: this staleness, and all beyond
MOST_VALUES = 4096  # of a histogram that are read
SHOWN = 0.995  # of all updates have a staleness with a bar of its own
LEAD = (
    "The staleness of a push is how many updates of its piece of the parameters came between the fetch that "
    "its gradient was computed from, and the push. 0 is serial; one less than there are replicas is usual."
)


def overlay(subjects: Sequence[Subject]) -> Section | None:
    """Return the mean staleness of several runs over one another; None where there is none."""
    frames = [f for subject in subjects for f in _over_time(subject, f"{subject.name}: ", subject.number)[:1]]
    chart = Chart("Mean staleness", "updates", frames, from_zero=True)
    return Section("staleness", "Staleness", [chart], LEAD) if frames else None


def section(subject: Subject) -> Section | None:
    """Return staleness over time, by shard and by replica; None for methods without any."""
    frames = _over_time(subject, "", 0)
    counts = histograms(subject.run.records("shard").valid)
    blocks: list[Block] = []
    if frames:
        blocks.append(Chart("Staleness", "updates", frames, from_zero=True, marks=marks(subject)))
    blocks += of_shards(counts)
    of_replicas = by_replica(subject)
    if of_replicas is not None:
        blocks.append(of_replicas)
    return Section("staleness", "Staleness", blocks, LEAD) if blocks else None


def _over_time(subject: Subject, before: str, colour: int) -> list[Frame]:
    """Return mean and largest staleness: of the clients in train records, else of the shards."""
    train = subject.run.records("train").valid
    if np.isfinite(train.column("staleness_mean")).any():
        columns = [
            Column(f"{before}mean", train.column("staleness_mean"), colour),
            Column(f"{before}largest", train.column("staleness_max"), colour + 1, "dashed"),
        ]
        return [subject.frame(train, columns[:1] if before else columns)]
    shards = subject.run.records("shard").valid
    counted = shards.column("updates")
    updates, sums = gains(shards, counted), gains(shards, shards.column("staleness_mean") * counted)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = sums / updates
    last, by_shard = rounds(shards, np.where(updates > 0, mean, np.nan))
    _, weights = rounds(shards, updates)
    with np.errstate(divide="ignore", invalid="ignore"):
        known = np.where(np.isfinite(by_shard), weights, 0.0)
        over_all = np.nansum(np.nan_to_num(by_shard) * known, axis=1) / known.sum(axis=1)
    if not np.isfinite(over_all).any():
        return []
    return [subject.frame(last, [Column(f"{before}mean over shards", over_all, colour)])]


def histograms(records: Records) -> dict[int, Array]:
    """Return how often each staleness was seen by each shard, of the last job that tells."""
    found: dict[int, Array] = {}
    for row, shard in zip(records.rows, records.column("shard").tolist(), strict=True):
        counts = row.get("staleness_histogram")
        if isinstance(counts, list) and counts and abs(shard) < LARGEST:
            found[int(shard)] = np.clip(np.nan_to_num(as_numbers(counts[:MOST_VALUES])), 0.0, LARGEST)
    return {shard: counts for shard, counts in sorted(found.items()) if counts.sum() > 0}


def of_shards(counts: dict[int, Array]) -> list[Block]:
    """Return a histogram of each shard, or of all and a matrix where there are many; and a table."""
    if not counts:
        return []
    longest = max(map(len, counts.values()))
    together = np.sum([np.pad(one, (0, longest - len(one))) for one in counts.values()], axis=0)
    stop = _stop(together)
    blocks: list[Block] = []
    if len(counts) <= FEW:
        blocks += [_histogram(f"Shard {shard}", one, stop) for shard, one in counts.items()]
    else:
        blocks += [_histogram("All shards together", together, stop), _matrix(counts, stop)]
    rows: list[Sequence[Cell]] = [
        [f"shard {shard}", *_quantiles(one), _largest(one), float(one.sum())] for shard, one in counts.items()
    ]
    head = ["", "mean", "median", "95 % are at most", "largest", "updates of pieces"]
    table = Table("Staleness by shard, of the last job", head, rows, folded=len(rows) > FEW)
    return [*blocks, table]


def _largest(counts: Array) -> Cell:
    """Return the largest staleness; of those that are counted together, that it is at least so much."""
    found = len(np.trim_zeros(counts, "b")) - 1
    return f"{found}+" if found == COUNTED_TOGETHER else float(found)


def _stop(counts: Array) -> int:
    """Return how many values have bars of their own: but for a few that are far above the others."""
    most = int(np.searchsorted(np.cumsum(counts), SHOWN * counts.sum())) + 2
    return len(counts) if len(counts) <= most + 2 else most


def _histogram(caption: str, counts: Array, stop: int) -> Histogram:
    """Return a histogram of a shard; values share a bar where there are many, and larger ones the last."""
    step = -(-stop // MOST_BARS)
    own = np.pad(counts[:stop], (0, max(0, stop - len(counts))))
    bars = np.pad(own, (0, -stop % step)).reshape(-1, step).sum(axis=1)
    bars[-1] += counts[stop:].sum()
    return Histogram(caption, bars, "staleness", step, bool(counts[stop:].sum()))


def _matrix(counts: dict[int, Array], stop: int) -> Matrix:
    shown = [_histogram("", one, stop) for one in counts.values()]
    step, more = shown[0].step, any(one.more for one in shown)
    names = [
        str(i * step) if step == 1 else f"{i * step}-{i * step + step - 1}"
        for i in range(len(shown[0].counts))
    ]
    return Matrix(
        "Staleness by shard: share of its updates",
        100 * np.array([one.counts / one.counts.sum() for one in shown]),
        [f"shard {shard}" for shard in counts],
        [*names[:-1], f"{(len(names) - 1) * step}+" if more else names[-1]],
        "shard",
        "staleness",
        "{row}, staleness {column}: {value} % of its updates",
    )


def _quantiles(counts: Array) -> list[Cell]:
    """Return mean, median and 95th percentile, as they are written."""
    values, below = np.arange(len(counts)), np.cumsum(counts)
    middle, high = (float(np.searchsorted(below, share * below[-1])) for share in (0.5, 0.95))
    return [numbers.number(float((values * counts).sum() / below[-1])), middle, high]
