"""What is of batch methods alone: iterations, line searches, and who won the portions. Pure."""

from collections.abc import Sequence

import numpy as np

from dbmpi.logs.records import LARGEST, Records, number
from dbmpi.report import numbers
from dbmpi.report.blocks import Bar, Block, Cell, Chart, Column, Frame, Section, Table
from dbmpi.report.subject import Subject

MOST_SEARCHES = 60  # line searches of more than one evaluation that are listed
ITERATION = "iteration"
PARTS = {
    "passes_s": "passes over the batch",
    "commands_s": "vector operations",
    "bookkeeping_s": "the coordinator",
}


def section(subject: Subject) -> Section | None:
    """Return the course of the method; None for other methods."""
    records = subject.run.records("iteration").valid
    if not len(records):
        return None
    blocks: list[Block] = [
        _chart(
            records, "Loss by iteration", "of the batch, with the penalty", {"loss": "loss"}, logarithmic=True
        ),
        _chart(records, "Step length", "of the direction", {"step_length": "accepted step"}, dots=True),
        _chart(
            records,
            "Evaluations of each line search",
            "passes over the batch",
            {"evaluations": "evaluations"},
            dots=True,
        ),
        _times(records),
        *_searches(records),
        *_portions(subject),
    ]
    return Section(
        "batch", "Batch method", [one for one in blocks if not isinstance(one, Chart) or one.frames]
    )


def _chart(
    records: Records,
    title: str,
    unit: str,
    fields: dict[str, str],
    logarithmic: bool = False,
    dots: bool = False,
) -> Chart:
    style = "dots" if dots else "line"
    columns = [
        Column(called, records.column(field), i, style)  # type: ignore[arg-type]
        for i, (field, called) in enumerate(fields.items())
        if np.isfinite(records.column(field)).any()
    ]
    return Chart(
        title,
        unit,
        _by_iteration(records, columns),
        logarithmic=logarithmic,
        from_zero=dots,
        own_axis=ITERATION,
    )


def _by_iteration(records: Records, columns: Sequence[Column]) -> list[Frame]:
    iteration = records.column("iteration")
    there = [one for one in columns if np.isfinite(one.values[np.isfinite(iteration)]).any()]
    return [Frame({"own": iteration}, there, records.jobs)] if there else []


def _times(records: Records) -> Chart:
    parts = {field: records.column(field) for field in PARTS}
    columns = [
        Column(PARTS[field], np.nan_to_num(values), i)
        for i, (field, values) in enumerate(parts.items())
        if np.nansum(values) > 0
    ]
    frames = _by_iteration(records, columns)
    return Chart("Time of an iteration", "s", frames, stacked=True, own_axis=ITERATION)


def _searches(records: Records) -> list[Table]:
    """Return the line searches that needed more than one evaluation, if their evaluations are recorded."""
    rows: list[Sequence[Cell]] = []
    for row in records.rows:
        tried = row.get("line_search")
        if isinstance(tried, list) and len(tried) > 1:
            pairs = [one for one in tried if isinstance(one, list) and len(one) == 2]
            said = "; ".join(
                f"{numbers.number(number(step))}: {numbers.number(number(loss))}" for step, loss in pairs[:12]
            )
            rows.append([number(row.get("iteration")), said, numbers.number(number(row.get("step_length")))])
    if not rows:
        return []
    head = ["iteration", "step: loss, one after another", "accepted step"]
    note = f"The last {MOST_SEARCHES} of {len(rows)}." if len(rows) > MOST_SEARCHES else ""
    return [
        Table("Line searches of more than one evaluation", head, rows[-MOST_SEARCHES:], note, folded=True)
    ]


def _portions(subject: Subject) -> list[Table]:
    """Return who computed the portions, and who was first where several computed one."""
    last: dict[int, dict[str, float]] = {}
    records = subject.run.records("replica").valid
    for row, replica in zip(records.rows, records.column("replica").tolist(), strict=True):
        if abs(replica) < LARGEST:
            last[int(replica)] = {name: number(row.get(name), 0.0) for name in ("done", "won", "lost")}
    most = max((counts["won"] + counts["lost"] for counts in last.values()), default=0.0)
    if not most > 0:
        return []
    rows: list[Sequence[Cell | Bar]] = [
        [
            f"replica {replica}",
            Bar([(0.0, counts["won"], "c0"), (counts["won"], counts["lost"], "c3")], most),
            counts["won"],
            counts["lost"],
            counts["done"],
        ]
        for replica, counts in sorted(last.items())
    ]
    keys = [("c0", "won: its gradient counts"), ("c3", "lost: another replica was first")]
    head = ["", "portions", "won", "lost", "computed to the end"]
    return [Table("Who won the portions", head, rows, "", keys)]
