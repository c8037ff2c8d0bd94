"""The page: one file of HTML with its styles, its script and its numbers, which loads nothing. Pure."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from dbmpi import __version__
from dbmpi.report.blocks import Chart, Head, Said, Section
from dbmpi.report.content import Content
from dbmpi.report.html import data
from dbmpi.report.html.markup import script_data, tag, text
from dbmpi.report.html.pieces import Pieces

FOLDER = Path(__file__).parent
MARK = "<!doctype html>\n<!-- written by dbmpi.report -->\n"  # by which a report is known
MOST_BYTES = 2_000_000
ROOM = 1_100_000.0  # bytes for the numbers of charts
NO_SCRIPT = "Charts are drawn by a script in this file, which is switched off; tables are here."
SEVERITY = {"bad": "✖ Bad", "warning": "▲ Warning", "note": "● Note", "good": "✔ Good"}


def page(content: Content, written: str, reload_s: float = 0.0) -> str:
    """Return the HTML of a page.

    Parameters
    ----------
    content
        What it holds.
    written
        When it was written, as it is shown.
    reload_s
        After how many seconds it reads itself again; 0: never.
    """
    room = ROOM
    while True:
        made = _page(content, written, reload_s, room)
        if len(made.encode()) <= MOST_BYTES or room < 1e4:
            return made
        room /= 2


def _page(content: Content, written: str, reload_s: float, room: float) -> str:
    charts = [block for section in _all_of(content) for block in section.blocks if isinstance(block, Chart)]
    pieces = Pieces(data.rows_for(charts, room))
    body = _body(content, written, pieces, data.axes_of(charts))
    numbers = {
        "charts": pieces.charts,
        "matrices": pieces.matrices,
        "axes": data.axes_of(charts),
        "reload": reload_s,
    }
    return (
        MARK
        + tag(
            "html", _head(content) + tag("body", body + script_data("data", numbers) + _scripts()), lang="en"
        )
        + "\n"
    )


def _all_of(content: Content) -> list[Section]:
    return [*content.sections, *(section for _, sections in content.each for section in sections)]


@cache
def _asset(name: str) -> str:
    return (FOLDER / name).read_text("utf-8")


def _styles() -> Sequence[str]:
    return _asset("uplot/uPlot.min.css"), _asset("page.css")


def _code() -> Sequence[str]:
    licence = _asset("uplot/LICENSE").replace("*/", "")
    return f"/*\n{licence}*/\n" + _asset("uplot/uPlot.iife.min.js"), _asset("page.js")


def _scripts() -> str:
    return "".join(f"<script>{one}</script>" for one in _code())


def _head(content: Content) -> str:
    names = ", ".join(head.name for head in content.heads[:3]) + (", ..." if len(content.heads) > 3 else "")
    policy = (
        f"default-src 'none'; script-src {_hashes(_code())}; style-src {_hashes(_styles())}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    return tag(
        "head",
        '<meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        + tag("title", text(f"{names}: dbmpi report"))
        + "".join(f"<style>{one}</style>" for one in _styles()),
    )


def _hashes(texts: Sequence[str]) -> str:
    """Return what a policy allows: these texts, and no others."""
    sums = (base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in texts)
    return " ".join(f"'sha256-{one}'" for one in sums)


def _body(content: Content, written: str, pieces: Pieces, axes: Mapping[str, str]) -> str:
    several = len(content.heads) > 1
    heads = "".join(_run(head, several) for head in content.heads)
    sections = "".join(pieces.section(one) for one in content.sections)
    each = "".join(_whole(name, parts, pieces) for name, parts in content.each)
    title = f"{len(content.heads)} runs" if several else content.heads[0].name
    top = tag("h1", text(title)) + tag(
        "p", text(f"Written {written} by dbmpi {__version__}."), class_="written"
    )
    script = tag("noscript", tag("p", NO_SCRIPT, class_="note"))
    if each:
        each = tag(
            "section", tag("h2", "Run by run", id="runs-head") + each, id="runs", aria_labelledby="runs-head"
        )
    return (
        tag("a", "To the content", href="#main", class_="skip")
        + tag("header", top + script)
        + tag(
            "main",
            tag("div", heads, class_="heads several" if several else "one")
            + _contents(content)
            + _switch(axes)
            + sections
            + each,
            id="main",
        )
    )


def _run(head: Head, several: bool) -> str:
    """Return how a run stands, its verdict, and its key figures."""
    name = tag("h2", text(head.name)) if several else ""
    state = tag("p", tag("b", "State: ") + text(head.state), class_=f"state {head.state_kind}")
    place = tag("p", text(head.path), class_="path")
    problems = "".join(tag("p", text(one), class_="note") for one in head.problems)
    verdict = _verdict(head.verdict, several)
    figures = "".join(
        tag(
            "div",
            tag("dt", text(one.name)) + tag("dd", tag("b", text(one.value)) + tag("span", text(one.remark))),
        )
        for one in head.figures
    )
    shown = "" if several or not figures else tag("dl", figures, class_="figures")
    return tag("div", name + state + place + problems + verdict + shown, class_="head")


def _verdict(found: Sequence[Said], several: bool) -> str:
    """Return the findings; where there are several runs, what is good is folded."""
    good = [one for one in found if one.severity == "good"] if several else []
    listed = [one for one in found if one not in good]
    folded = tag("details", tag("summary", f"What is good ({len(good)})") + _findings(good)) if good else ""
    head = tag("h3" if several else "h2", "Verdict") if found else ""
    return head + (_findings(listed) if listed else "") + folded


def _findings(found: Sequence[Said]) -> str:
    return tag("ul", "".join(map(_finding, found)), class_="verdict")


def _finding(one: Said) -> str:
    word = tag("b", SEVERITY[one.severity], class_="word")
    remedy = tag("span", text(one.remedy), class_="remedy") if one.remedy else ""
    figure = tag("span", text(one.figure), class_="figure") if one.figure else ""
    return tag("li", word + " " + tag("span", text(one.text)) + figure + remedy, class_=one.severity)


def _contents(content: Content) -> str:
    links = [(section.key, section.title) for section in content.sections]
    links += [("runs", "Run by run")] if content.each else []
    items = "".join(tag("li", tag("a", text(title), href=f"#{key}")) for key, title in links)
    return tag("nav", tag("ul", items), aria_label="Sections")


def _switch(axes: Mapping[str, str]) -> str:
    """Return the switch of the axis that charts are drawn against."""
    if not axes:
        return ""
    options = "".join(
        tag(
            "label",
            f'<input type="radio" name="axis" value="{text(axis)}"{" checked" if not i else ""}>'
            + text(name.partition(" (")[0]),
        )
        for i, (axis, name) in enumerate(axes.items())
    )
    log = tag("label", '<input type="checkbox" id="log">Logarithmic loss')
    axis = tag("fieldset", tag("legend", "Charts against") + options)
    return tag("form", axis + log, class_="switch", aria_label="How charts are drawn")


def _whole(name: str, sections: Sequence[Section], pieces: Pieces) -> str:
    content = "".join(pieces.section(one, 3) for one in sections)
    return tag("details", tag("summary", text(name)) + content, class_="whole")
