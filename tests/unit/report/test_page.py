"""The page as a file: that it is one, loads nothing, and takes every text for text."""

import json
import re
import warnings
from html.parser import HTMLParser
from pathlib import Path

import pytest

from dbmpi.logs.run import open_run
from dbmpi.report import content, csv_files
from dbmpi.report.blocks import Matrix
from dbmpi.report.html import page
from dbmpi.report.html.drawing import levels
from dbmpi.report.subject import named
from tests import ROOT
from tests.doubles.recorded import Recorded, hostile, spoilt, whole

SAVED = ROOT / "tests" / "saved" / "0.1.0"
VOID = {"meta", "input"}


class Elements(HTMLParser):
    """Reads a page, and notes its elements, and which are not closed as they were opened."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


def made(*paths: Path, reload_s: float = 0.0) -> str:
    return page.page(content.content([open_run(path) for path in paths]), "now", reload_s)


def data_of(text: str) -> dict[str, object]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found
    return json.loads(found[1])  # type: ignore[no-any-return]


def test_a_page_is_whole_and_loads_nothing(tmp_path: Path) -> None:
    text = made(whole(tmp_path / "run"))
    read = Elements(text)
    assert not read.wrong and not read.open
    assert "default-src 'none'" in text and "unsafe-inline" not in text
    loaded = [value for _, attrs in read.found for name, value in attrs.items() if name in ("src", "href")]
    assert loaded and all(value and value.startswith("#") for value in loaded)
    assert not [attrs for _, attrs in read.found if "style" in attrs]  # which the policy would refuse
    targets = {attrs["id"] for _, attrs in read.found if "id" in attrs}
    assert {value[1:] for value in loaded if value} <= targets


def test_every_table_and_drawing_has_a_name(tmp_path: Path) -> None:
    for tag, attrs in Elements(made(whole(tmp_path / "run"))).found:
        if tag == "table" or attrs.get("role") == "img":
            assert attrs.get("aria-label")
        assert tag != "svg" or attrs.get("role") == "img" or attrs.get("aria-hidden") == "true"


def test_hostile_texts_are_texts(tmp_path: Path) -> None:
    run = hostile(tmp_path / "'\"><img src=x onerror=alert(1)>")
    text = made(run, run)
    read = Elements(text)
    assert not read.wrong and not read.open
    assert not [tag for tag, _ in read.found if tag == "img"]
    assert [tag for tag, _ in read.found].count("script") == 3
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u2028\u202e\ud800]", text)
    text.encode()
    assert data_of(text)["charts"]


@pytest.mark.parametrize("seed", range(0, 40, 8))
def test_no_value_of_a_record_ends_the_page(tmp_path: Path, seed: int) -> None:
    for i in range(seed, seed + 8):
        run = spoilt(tmp_path / str(i), i)
        for text in (made(run), made(run, run)):
            read = Elements(text)
            assert not read.wrong and not read.open and data_of(text)["charts"]
            assert not [tag for tag, _ in read.found if tag == "img"]
        csv_files.write(named([open_run(run)]), tmp_path / "csv")


def test_what_no_record_knows_is_no_warning(tmp_path: Path) -> None:
    """They would come onto the terminal of who asks for the page."""
    run = Recorded(tmp_path / "run")
    run.begin()
    for second in range(1, 9):
        run.second(float(second), 9.0)
    path = run.write()
    records = (path / "metrics.jsonl").read_text().splitlines()
    odd = [
        json.dumps(
            {name: one if name in ("kind", "time_s") else None for name, one in json.loads(line).items()}
        )
        for line in records
    ]
    (path / "metrics.jsonl").write_text("\n".join(odd))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert made(path)


@pytest.mark.parametrize(
    "counts", [{"replicas": 220, "partitions": 4, "shards": 119}, {"replicas": 1000, "partitions": 1}]
)
def test_a_thousand_ranks_and_a_hundred_classes_stay_below_two_megabytes(
    tmp_path: Path, counts: dict[str, int]
) -> None:
    text = made(whole(tmp_path / "run", classes=100, **counts))
    assert len(text.encode()) < page.MOST_BYTES


def test_many_records_and_runs_stay_below_two_megabytes(tmp_path: Path) -> None:
    run = Recorded(tmp_path / "run")
    run.begin()
    for second in range(1, 6000):
        run.second(float(second), 6000.0)
    path = run.write()
    text = made(*[path] * 6)
    assert len(text.encode()) < page.MOST_BYTES
    frames = data_of(text)["charts"][0]["frames"]  # type: ignore[index]
    assert max(frames[0]["curves"][0]["y"]) == pytest.approx(2.2985, abs=1e-3)


def test_a_page_that_is_watched_reads_itself_again(tmp_path: Path) -> None:
    run = whole(tmp_path / "run")
    assert data_of(made(run, reload_s=5.0))["reload"] == 5.0
    assert data_of(made(run))["reload"] == 0.0


def test_axes_are_those_that_some_chart_has() -> None:
    assert list(data_of(made(SAVED / "sandblaster"))["axes"]) == [
        "time",
        "life",
        "examples",
        "minibatches",
        "iterations",
    ]  # type: ignore[call-overload]
    assert "updates" in data_of(made(SAVED / "downpour"))["axes"]  # type: ignore[operator]


def test_colours_of_a_matrix_tell_nothing_from_little() -> None:
    import numpy as np

    values = np.array([[1000.0, 1.0], [0.0, np.nan]])
    for counts in (True, False):
        shown = levels(Matrix("", values, "ab", "ab", "", "", "", counts=counts))
        assert shown.tolist() == [[8, 1], [0, 0]]
