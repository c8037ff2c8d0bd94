"""What the shards of the parameter server had to do. Pure."""

from collections.abc import Sequence

import numpy as np

from dbmpi.arrays import Array
from dbmpi.logs.records import LARGEST, Records, number
from dbmpi.report import numbers
from dbmpi.report.blocks import Bar, Cell, Chart, Section, Table
from dbmpi.report.crowd import FEW, crowd, rounds
from dbmpi.report.sections.events import marks
from dbmpi.report.subject import Subject, gains

LEAD = "A shard that is always busy holds the replicas up: more shards (cluster.shards) share its work."


def section(subject: Subject) -> Section | None:
    """Return the load of each shard over time and over the run; None where none is recorded."""
    records = subject.run.records("shard").valid
    if not len(records):
        return None
    last, busy = rounds(records, _busy(subject, records))
    frames = crowd(subject, last, 100 * busy, "shard")
    unit = "% of the time in which each served"
    charts = [Chart("Load of shards", unit, frames, from_zero=True, marks=marks(subject))]
    return Section("shards", "Shards", [*(charts if frames else []), _table(records)], LEAD)


def _busy(subject: Subject, records: Records) -> Array:
    """Return the share of the time since its last record in which each shard served, `(n,)`."""
    told = records.column("interval_busy")
    begun = np.array([job.first_s for job in subject.run.jobs])[records.jobs]
    passed = gains(records, records.column("time_s") - begun)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.where(passed > 0, gains(records, records.column("busy_s")) / passed, np.nan)
    return np.where(np.isfinite(told), told, np.minimum(found, 1.0))


def _table(records: Records) -> Table:
    """Return what each shard has done, over all jobs."""
    counted = ("busy_s", "updates", "fetches", "bytes_in", "bytes_out")
    grown = {field: gains(records, records.column(field)) for field in counted}
    of = records.column("shard")
    shards = sorted({int(one) for one in of.tolist() if abs(one) < LARGEST and one.is_integer()})
    most_s = max((float(grown["busy_s"][of == shard].sum()) for shard in shards), default=0.0)
    rows: list[Sequence[Cell | Bar]] = []
    for shard in shards:
        sums = {field: float(values[of == shard].sum()) for field, values in grown.items()}
        rows.append([
            f"shard {shard}",
            Bar([(0.0, sums["busy_s"], "c0")], max(most_s, 1e-9)),
            numbers.seconds(sums["busy_s"]),
            sums["updates"],
            sums["fetches"],
            _refused(records, of == shard),
            numbers.size(sums["bytes_in"]),
            numbers.size(sums["bytes_out"]),
        ])  # fmt: skip
    head = ["", "time in which it served", "", "updates of pieces", "fetches", "refused", "in", "out"]
    return Table("What each shard has done, over all jobs", head, rows, folded=len(rows) > 2 * FEW)


def _refused(records: Records, mine: Array) -> str:
    """Return how many pushes the last job's shard has refused, and why."""
    last = records.rows[int(np.flatnonzero(mine)[-1])].get("refused")
    counts = last if isinstance(last, dict) else {}
    said = [
        f"{number(count, 0):,.0f} {str(why)[:20].replace('_', ' ')}"
        for why, count in counts.items()
        if number(count, 0)
    ]
    return ", ".join(said[:4]) or "0"
