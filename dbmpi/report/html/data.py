"""The numbers of charts and matrices as the page's script reads them. Pure."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dbmpi.arrays import Array
from dbmpi.report.blocks import AXES, Chart, Frame, Mark, Matrix
from dbmpi.report.thin import thinned

BYTES = 9  # of a number, about
LEAST, MOST = 40, 2000  # rows of a frame


def rows_for(charts: Sequence[Chart], room: float) -> int:
    """Return how many rows a frame may have, so that all take about `room` bytes."""
    width = sum(len(frame.axes) + len(frame.columns) for chart in charts for frame in chart.frames)
    return int(min(MOST, max(LEAST, room / BYTES / max(width, 1))))


def of_chart(chart: Chart, rows: int) -> dict[str, Any]:
    """Return a chart, each frame of at most so many rows."""
    return {
        "unit": chart.unit,
        "title": chart.title,
        "stacked": chart.stacked,
        "log": chart.logarithmic,
        "zero": chart.from_zero,
        "own": chart.own_axis,
        "frames": [_frame(frame, rows) for frame in chart.frames],
        "marks": [_mark(mark) for mark in chart.marks],
    }


def _frame(frame: Frame, rows: int) -> dict[str, Any]:
    """Return a frame: `x` by axis, `gaps` before which rows, and curves with name, colour, style, values."""
    known = np.any([np.isfinite(column.values) for column in frame.columns], axis=0)
    there = np.flatnonzero(known)
    kept = there[thinned([column.values[there] for column in frame.columns], rows)] if len(there) else there
    jobs = frame.jobs[kept]
    return {
        "x": {axis: rounded(values[kept], 8) for axis, values in frame.axes.items()},
        "gaps": (np.flatnonzero(jobs[1:] != jobs[:-1]) + 1).tolist(),
        "curves": [
            {"name": one.name, "colour": one.colour, "style": one.style, "y": rounded(one.values[kept], 5)}
            for one in frame.columns
        ],
    }


def _mark(mark: Mark) -> dict[str, Any]:
    x = {axis: _plain(value, 8) for axis, value in mark.axes.items()}
    return {"number": mark.number, "about": mark.about, "x": x}


def of_matrix(matrix: Matrix) -> dict[str, Any]:
    """Return what the script says of a cell."""
    values = [rounded(row, 4) for row in matrix.values]
    return {"rows": matrix.rows, "columns": matrix.columns, "reading": matrix.reading, "values": values}


def rounded(values: Array, digits: int) -> list[float | None]:
    """Return numbers of so many digits, whole ones whole; None for what is not finite."""
    return [_plain(one, digits) for one in values.tolist()]


def _plain(value: float, digits: int) -> float | None:
    short = float(f"{value:.{digits}g}")
    if not math.isfinite(short):
        return None
    return int(short) if short.is_integer() and abs(short) < 1e15 else short


def axes_of(charts: Sequence[Chart]) -> Mapping[str, str]:
    """Return the axes that some chart can be drawn against, with their names."""
    there = {axis for chart in charts if not chart.own_axis for frame in chart.frames for axis in frame.axes}
    return {axis: name for axis, name in AXES.items() if axis in there}
