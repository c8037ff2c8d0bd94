"""Where the time of each rank went, by the records of its trace: the sums are those of summary.json. Pure.

`busy_s` of summary.json is the time in which partitions learned: from an order to its report. What they
waited in it counts, and what they waited for that order; waits of evaluations, and others, are apart.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dbmpi.arrays import Record
from dbmpi.spans import Kind
from dbmpi.trace.rank_file import RankFile

COORDINATOR = "coordinator"
ACTIVE = Kind.WORK, Kind.SERVE, Kind.ROUND, Kind.COMMAND, Kind.REPORT


@dataclass(frozen=True)
class Share:
    """Sums over the records of a rank, in seconds.

    Parameters
    ----------
    file
        Whose they are.
    span_s
        From its first record to its last.
    busy_s, waits_s
        Of orders to learn: their time, and the waits in them and for them, by cause.
    apart_s
        Waits that do not belong to orders to learn, by cause.
    active_s
        The time of all orders, requests, commands and reports, without the waits in them.
    """

    file: RankFile
    span_s: float = 0.0
    busy_s: float = 0.0
    waits_s: Mapping[str, float] = field(default_factory=dict)
    apart_s: Mapping[str, float] = field(default_factory=dict)
    active_s: float = 0.0

    def wait(self, cause: str) -> float:
        """Return all waits of a cause."""
        return self.waits_s.get(cause, 0.0) + self.apart_s.get(cause, 0.0)


def share(file: RankFile, records: Record) -> Share:
    """Return the sums over the records of a rank, `(n,)` of `files.RECORDS`."""
    if not len(records):
        return Share(file)
    lasted = records["stop"] - records["start"]
    kinds, causes, works = records["kind"], file.names("causes"), file.names("works")
    work, waits, learning = kinds == Kind.WORK, kinds == Kind.WAIT, _learning(records, works)
    counted = _counted(records, work, learning, causes)
    active = _joined(records[np.isin(kinds, ACTIVE)])
    inner = waits & _inside(records["start"], *active)
    return Share(
        file,
        float(records["stop"].max() - records["start"].min()),
        float(lasted[work & learning].sum()),
        _by_cause(records, lasted, waits & counted, causes),
        _by_cause(records, lasted, waits & ~counted, causes),
        float((active[1] - active[0]).sum() - lasted[inner].sum()),
    )


def _learning(records: Record, works: Mapping[int, str]) -> NDArray[np.bool_]:
    """Return whether each record, as an order, counts: of batch methods the portions that were accepted."""
    numbers = {name: number for number, name in works.items()}
    portions = (records["version"].astype(np.int64) << 32) + records["piece"]
    accepting = (records["kind"] == Kind.URGENT) & (records["detail"] == numbers.get("accept", -1))
    accepted = np.isin(portions, portions[accepting])
    computed = (records["detail"] == numbers.get("gradient", -1)) & (records["value"] > 0)
    return (records["detail"] == numbers.get("train", -1)) | (computed & accepted)


def _counted(
    records: Record, work: NDArray[np.bool_], learning: NDArray[np.bool_], causes: Mapping[int, str]
) -> NDArray[np.bool_]:
    """Return whether each record, as a wait, belongs to an order to learn: it lies in one, or is for it."""
    order = np.argsort(records["start"][work], kind="stable")
    starts, stops, learned = (
        values[order] for values in (records["start"][work], records["stop"][work], learning[work])
    )
    if not len(starts):
        return np.zeros(len(records), bool)
    before = np.searchsorted(starts, records["start"], side="right") - 1
    at = np.clip(before, 0, None)
    inside = (before >= 0) & (records["start"] < stops[at]) & learned[at]
    following = np.minimum(before + 1, len(starts) - 1)
    ordered = np.isin(records["value"], [number for number, name in causes.items() if name == COORDINATOR])
    awaited = ordered & (before + 1 < len(starts)) & learned[following]
    return np.where(ordered, awaited, inside)


def _by_cause(
    records: Record, lasted: NDArray[np.float64], chosen: NDArray[np.bool_], causes: Mapping[int, str]
) -> dict[str, float]:
    sums = np.bincount(records["value"][chosen], lasted[chosen], minlength=max(causes, default=0) + 1)
    return {name: float(sums[number]) for number, name in causes.items()}


def _joined(records: Record) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return starts and stops of the times in which at least one of some records was under way."""
    order = np.argsort(records["start"], kind="stable")
    starts = records["start"][order]
    stops = np.maximum.accumulate(records["stop"][order]) if len(order) else records["stop"]
    begins = np.ones(len(starts), bool)
    begins[1:] = starts[1:] > stops[:-1]
    return starts[begins], stops[np.append(begins[1:], True)[: len(stops)]]


def _inside(
    at: NDArray[np.float64], starts: NDArray[np.float64], stops: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Return which moments lie in one of some times that are apart."""
    if not len(starts):
        return np.zeros(len(at), bool)
    before = np.searchsorted(starts, at, side="right") - 1
    return (before >= 0) & (at < stops[np.clip(before, 0, None)])


def table(shares: Sequence[Share]) -> list[str]:
    """Return the lines of a table: of each rank the share of time in which it computed, and of each wait."""
    causes = sorted({name for one in shares for name in one.apart_s if one.wait(name) > 0})
    heads = ["rank", "role", "seconds", "computes", *causes, "rest"]
    rows = [heads, *(_row(one, causes) for one in shares)]
    widths = [max(len(row[n]) for row in rows) for n in range(len(heads))]
    return ["  ".join(_cell(row[n], widths[n], n) for n in range(len(heads))) for row in rows]


def _cell(text: str, width: int, column: int) -> str:
    return text.ljust(width) if column == 1 else text.rjust(width)


def _row(one: Share, causes: Sequence[str]) -> list[str]:
    waits = [one.wait(cause) for cause in causes]
    shown = [one.active_s, *waits, one.span_s - one.active_s - sum(waits)]
    shares = [f"{max(0.0, value) / one.span_s:.1%}" if one.span_s else "-" for value in shown]
    return [str(one.file.rank), one.file.role, f"{one.span_s:.2f}", *shares]
