"""Bars, histograms and matrices as SVG within the page. Pure."""

import math
from collections.abc import Sequence

import numpy as np

from dbmpi.arrays import Array
from dbmpi.report import numbers
from dbmpi.report.blocks import Bar, Histogram, Matrix
from dbmpi.report.html.markup import tag, text

LEVELS = 8  # of the colours of a matrix
LETTER = 6.4  # width of a letter of 11 px
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 310, 150, 44, 10, 14, 34  # of a histogram
BAR_WIDTH = 1000


def bar(one: Bar) -> str:
    """Return a bar that fills the cell it is in."""
    scale = BAR_WIDTH / float(one.most) if one.most > 0 else 0.0
    rects = [
        f'<rect class="{kind}" x="{begin * scale:.1f}" width="{max(length * scale, 1.5):.1f}" height="10"/>'
        for begin, length, kind in ((float(part[0]), float(part[1]), part[2]) for part in one.parts)
        if length > 0 and math.isfinite(begin * scale + length * scale)
    ]
    box = f"0 0 {BAR_WIDTH} 10"
    content = "".join(rects)
    return f'<svg class="bar" viewBox="{box}" preserveAspectRatio="none" aria-hidden="true">{content}</svg>'


def histogram(one: Histogram) -> str:
    """Return a histogram, with a line under each bar that has a name."""
    top = float(one.counts.max()) if len(one.counts) else 0.0
    wide, high = (WIDTH - LEFT - RIGHT) / max(len(one.counts), 1), HEIGHT - TOP - BOTTOM
    bars = [
        _bar_of(i, float(count) / top, wide, high) for i, count in enumerate(one.counts.tolist()) if count > 0
    ]
    base = HEIGHT - BOTTOM
    every = max(1, math.ceil(len(one.counts) / 8))
    last = len(one.counts) - 1
    named = [i for i in range(0, last, every) if not one.more or last - i >= every] + [last] * one.more
    named += [last] * (not one.more and last % every == 0)
    ticks = "".join(
        _label(
            LEFT + (i + 0.5) * wide, base + 13, f"{i * one.step}{'+' * (one.more and i == last)}", "middle"
        )
        for i in named
    )
    axes = (
        f'<path class="axis" d="M{LEFT} {TOP}V{base}H{WIDTH - RIGHT}"/>'
        + _label(LEFT - 4, TOP + 8, numbers.short(top), "end")
        + _label(LEFT - 4, base, "0", "end")
        + _label((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 4, one.label, "middle")
    )
    said = f"{one.caption}: {_spoken(one)}"
    return _svg(WIDTH, HEIGHT, said, "".join(bars) + axes + ticks)


def _bar_of(i: int, share: float, wide: float, high: float) -> str:
    tall = max(share * high, 1.5)
    x, y = LEFT + i * wide + 0.1 * wide, HEIGHT - BOTTOM - tall
    return f'<rect class="c0" x="{x:.1f}" y="{y:.1f}" width="{0.8 * wide:.1f}" height="{tall:.1f}"/>'


def _spoken(one: Histogram) -> str:
    commonest = int(one.counts.argmax()) * one.step if len(one.counts) else 0
    return f"commonest {one.label} {commonest}, largest about {(len(one.counts) - 1) * one.step}"


def _label(x: float, y: float, said: str, anchor: str, kind: str = "label") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text(said)}</text>'


def _upward(x: float, y: float, said: str, anchor: str) -> str:
    place = f"translate({x:.1f} {y:.1f}) rotate(-90)"
    return f'<text text-anchor="{anchor}" transform="{place}">{text(said)}</text>'


def _svg(width: float, height: float, said: str, content: str, **more: str) -> str:
    size = {"width": f"{width:.0f}", "height": f"{height:.0f}", "viewBox": f"0 0 {width:.0f} {height:.0f}"}
    return tag("svg", content, role="img", aria_label=said, class_="drawing", **size, **more)


def matrix(one: Matrix, key: str) -> str:
    """Return a matrix whose cells are coloured by the root of their share of the largest."""
    rows, columns = one.values.shape
    side = _side(max(rows, columns))
    left = LETTER * max(map(len, one.rows)) + 22
    longest = max(map(len, one.columns))
    upright = longest * LETTER <= side - 2
    top = 34.0 if upright else LETTER * longest + 28
    width = left + max(columns * side, LETTER * len(one.column_name)) + 8
    height = top + max(rows * side, LETTER * len(one.row_name)) + 8
    content = (
        _cells(levels(one), left, top, side)
        + (_inscriptions(one, left, top, side) if side >= 26 else "")
        + _names(one, left, top, side, upright)
        + f'<path class="frame" d="M{left:.1f} {top:.1f}h{columns * side}v{rows * side}h-{columns * side}z"/>'
    )
    place = f"{left:.1f} {top:.1f} {side}"
    said = f"{one.caption}: {one.row_name} in rows, {one.column_name} in columns"
    return _svg(width, height, said, content, data_matrix=key, data_place=place, tabindex="0")


def _side(count: int) -> int:
    return next((side for most, side in ((12, 30), (24, 20), (48, 12), (70, 9)) if count <= most), 7)


def levels(one: Matrix) -> Array:
    """Return the level of each value, 0 to `LEVELS`: 0 is nothing, whatever is more at least 1."""
    values = np.maximum(np.nan_to_num(one.values), 0.0)
    top = float(values.max()) if values.size else 0.0
    if not top > 0:
        return np.zeros(values.shape, np.int64)
    share = np.log1p(values) / np.log1p(top) if one.counts else np.sqrt(values / top)
    return np.ceil(LEVELS * np.minimum(share, 1.0)).astype(np.int64)


def _cells(found: Array, left: float, top: float, side: int) -> str:
    """Return all cells of a level as one path: so a hundred classes take little room."""
    paths = []
    for level in range(1, LEVELS + 1):
        cells = np.argwhere(found == level).tolist()
        steps = "".join(
            f"M{left + j * side:.5g} {top + i * side:.5g}h{side}v{side}h-{side}z" for i, j in cells
        )
        if steps:
            paths.append(f'<path class="q{level}" d="{steps}"/>')
    return "".join(paths)


def _inscriptions(one: Matrix, left: float, top: float, side: int) -> str:
    found, values = levels(one), one.values
    labels = []
    for i, j in np.argwhere(found > 0).tolist():
        kind = "over" if found[i, j] > LEVELS / 2 else "under"
        x, y = left + (j + 0.5) * side, top + (i + 0.5) * side + 4
        labels.append(_label(x, y, _brief(float(values[i, j])), "middle", kind))
    return "".join(labels)


def _brief(value: float) -> str:
    """Write a number that fits into a cell."""
    if value >= 1000:
        return numbers.short(float(f"{value:.2g}")).replace(" ", "")
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}" if value >= 0.01 else "0"


def _names(one: Matrix, left: float, top: float, side: int, upright: bool) -> str:
    every = max(1, math.ceil(11 / side))
    rows = [
        _label(left - 5, top + (i + 0.5) * side + 4, name, "end")
        for i, name in enumerate(one.rows)
        if i % every == 0
    ]
    columns = [
        _column_name(left + (j + 0.5) * side, top - 5, name, upright)
        for j, name in enumerate(one.columns)
        if j % every == 0
    ]
    across = left + max(one.values.shape[1] * side, LETTER * len(one.column_name)) / 2
    down = top + max(one.values.shape[0] * side, LETTER * len(one.row_name)) / 2
    heads = _label(across, 11, one.column_name, "middle")
    turned = _upward(11, down, one.row_name, "middle")
    return "".join([*rows, *columns, heads, turned])


def _column_name(x: float, y: float, name: str, upright: bool) -> str:
    if upright:
        return _label(x, y, name, "middle")
    return _upward(x + 4, y, name, "start")


def spoken(values: Sequence[float]) -> str:
    """Return a curve in words: `from 2.3 to 0.08, least 0.07, largest 2.3`."""
    finite = [one for one in values if math.isfinite(one)]
    if not finite:
        return "nothing finite"
    ends = f"from {numbers.number(finite[0])} to {numbers.number(finite[-1])}"
    return f"{ends}, least {numbers.number(min(finite))}, largest {numbers.number(max(finite))}"
