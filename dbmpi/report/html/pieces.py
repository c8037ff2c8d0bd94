"""The blocks of a page as HTML; charts and matrices leave their numbers for the script. Pure."""

from collections.abc import Sequence
from typing import Any

from dbmpi.report import numbers
from dbmpi.report.blocks import (
    Bar,
    Block,
    Cell,
    Chart,
    Code,
    Histogram,
    Map,
    Matrix,
    Note,
    Place,
    Section,
    Table,
)
from dbmpi.report.html import data, drawing
from dbmpi.report.html.markup import tag, text

LONGEST_CELL = 300


class Pieces:
    """Makes HTML of blocks, and keeps the numbers that the script draws.

    Parameters
    ----------
    rows
        Of each frame of a chart, at most.

    Attributes
    ----------
    charts, matrices
        What the script is given, in the order of the page.
    """

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self.charts: list[dict[str, Any]] = []
        self.matrices: list[dict[str, Any]] = []

    def section(self, section: Section, level: int = 2) -> str:
        """Return a section; neighbouring charts, histograms and matrices stand side by side."""
        lead = tag("p", text(section.lead), class_="lead") if section.lead else ""
        head = tag(f"h{level}", text(section.title), id=f"{section.key}-head")
        blocks = "".join(self._group(group) for group in _grouped(section.blocks))
        return tag("section", head + lead + blocks, id=section.key, aria_labelledby=f"{section.key}-head")

    def _group(self, blocks: Sequence[Block]) -> str:
        content = "".join(map(self.block, blocks))
        return (
            tag("div", content, class_="side" if isinstance(blocks[0], Chart) else "row")
            if len(blocks) > 1
            else content
        )

    def block(self, block: Block) -> str:
        """Return a block."""
        match block:
            case Chart():
                return self._chart(block)
            case Table():
                return table_of(block)
            case Histogram():
                return _figure(block.caption, drawing.histogram(block))
            case Matrix():
                return self._matrix(block)
            case Map():
                return _map(block)
            case Note():
                return tag("p", text(block.text), class_="note")
            case Code():
                return _folded(
                    block.caption, tag("div", tag("pre", text(block.text)), class_="scroll", tabindex="0")
                )

    def _chart(self, chart: Chart) -> str:
        self.charts.append(data.of_chart(chart, self._rows))
        curves = [column for frame in chart.frames for column in frame.columns]
        said = "; ".join(f"{one.name}: {drawing.spoken(one.values.tolist())}" for one in curves[:12])
        title = tag("b", text(chart.title)) + " " + tag("span", text(chart.unit), class_="unit")
        plot = tag("div", "", class_="plot", role="img", aria_label=f"{chart.title}. {said}")
        note = tag("p", text(chart.note), class_="note") if chart.note else ""
        legend = tag("div", "", class_="legend")
        return tag(
            "figure",
            tag("figcaption", title) + plot + legend + note,
            class_="chart",
            data_chart=str(len(self.charts) - 1),
        )

    def _matrix(self, matrix: Matrix) -> str:
        key = str(len(self.matrices))
        self.matrices.append(data.of_matrix(matrix))
        scroll = tag(
            "div",
            drawing.matrix(matrix, key),
            class_="scroll",
            tabindex="0",
            role="group",
            aria_label=matrix.caption,
        )
        readout = tag(
            "p", "Point at a cell, or move with the arrow keys.", class_="readout", aria_live="polite"
        )
        note = tag("p", text(matrix.note), class_="note") if matrix.note else ""
        return _figure(matrix.caption, scroll + readout + note)


def _grouped(blocks: Sequence[Block]) -> list[list[Block]]:
    """Return blocks with neighbours of a kind together, of the kinds that stand side by side."""
    groups: list[list[Block]] = []
    for block in blocks:
        if groups and isinstance(block, Chart | Histogram | Matrix) and type(groups[-1][0]) is type(block):
            groups[-1].append(block)
        else:
            groups.append([block])
    return groups


def _figure(caption: str, content: str) -> str:
    return tag("figure", tag("figcaption", tag("b", text(caption))) + content)


def _folded(caption: str, content: str) -> str:
    return tag("details", tag("summary", text(caption)) + content)


def table_of(one: Table) -> str:
    """Return a table, in a box that scrolls where it is wider than the page."""
    numeric = [_is_numeric([row[i] for row in one.rows]) for i in range(len(one.head))]
    head = "".join(_head(name, number) for name, number in zip(one.head, numeric, strict=True))
    rows = "".join(
        tag(
            "tr",
            "".join(
                _cell(cell, number, i) for i, (cell, number) in enumerate(zip(row, numeric, strict=True))
            ),
        )
        for row in one.rows
    )
    content = (tag("thead", tag("tr", head)) if any(one.head) else "") + tag("tbody", rows)
    table = tag("table", content, aria_label=one.caption)
    box = tag("div", table, class_="scroll", tabindex="0", role="group", aria_label=one.caption)
    note = tag("p", text(one.note), class_="note") if one.note else ""
    whole = box + keys(one.keys) + note
    if one.folded:
        return _folded(f"{one.caption} ({len(one.rows)})", whole)
    return tag("div", tag("p", text(one.caption), class_="caption") + whole, class_="table")


def _head(name: str, number: bool) -> str:
    return tag("th", text(name), scope="col", class_="number" if number else "text")


def _is_numeric(cells: Sequence[Cell | Bar]) -> bool:
    return all(cell is None or isinstance(cell, float | int) or _begins_as_number(cell) for cell in cells)


def _begins_as_number(cell: Cell | Bar) -> bool:
    return isinstance(cell, str) and (not cell or cell[0].isdigit() or cell == numbers.UNKNOWN)


def _cell(cell: Cell | Bar, number: bool, column: int) -> str:
    if isinstance(cell, Bar):
        return tag("td", drawing.bar(cell), class_="bars")
    said = cell if isinstance(cell, str) else numbers.number(cell)
    if len(said) > LONGEST_CELL:
        said = said[: LONGEST_CELL - 3] + "..."
    kind = "number" if number else "text"
    return tag("td", text(said), class_=kind) if column else tag("th", text(said), scope="row", class_="text")


def keys(listed: Sequence[tuple[str, str]]) -> str:
    """Return what colours mean: a class, and words, each."""
    if not listed:
        return ""
    items = "".join(tag("li", _swatch(kind) + text(words)) for kind, words in listed)
    return tag("ul", items, class_="keys")


def _swatch(kind: str) -> str:
    rect = f'<rect class="{text(kind)}" width="10" height="10"/>'
    return f'<svg class="swatch" viewBox="0 0 10 10" aria-hidden="true">{rect}</svg>'


def _map(one: Map) -> str:
    """Return ranks as tiles, node by node."""
    nodes = "".join(
        tag("p", tag("b", text(name)), class_="node") + tag("ul", "".join(map(_tile, places)), class_="tiles")
        for name, places in one.nodes
    )
    return _figure(one.caption, nodes + keys([(f"k-{kind}", words) for kind, words in one.keys]))


def _tile(place: Place) -> str:
    number = tag("span", str(place.rank), class_="rank")
    title = f"rank {place.rank}: {place.about}"
    return tag("li", number + tag("b", text(place.short)), class_=f"k-{place.kind}", title=title)
