"""The report in a real browser: nothing overlaps, is empty, leaves the page, or goes out to the network."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT
from tests.doubles.recorded import Recorded, hostile, spoilt, whole
from tests.system.browser import Seen, browser

SAVED = ROOT / "tests" / "saved" / "0.1.0"
SHOWN = [(width, scheme) for width in (360, 800, 1600) for scheme in ("light", "dark")]

pytestmark = pytest.mark.beside


def report(page: Path, *runs: Path, more: tuple[str, ...] = ()) -> Path:
    command = [sys.executable, "-m", "dbmpi.report", *map(str, runs), "-o", str(page), *more]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    return page


def trained(path: Path) -> Path:
    """Train for real, on one rank."""
    sets = ["train.epochs=2", "output.every_s=0.05", "output.shard_every_s=0.1"]
    command = [sys.executable, "-m", "dbmpi.train", "--run-dir", str(path)]
    command += [word for one in sets for word in ("--set", one)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    return path


def begun(path: Path) -> Path:
    run = Recorded(path)
    run.begin()
    return run.write('{"kind": "train", "ti')


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Write a page of each sort."""
    at = tmp_path_factory.mktemp("pages")
    serial, full = trained(at / "serial"), whole(at / "full")
    sorts = {
        "serial": [serial],
        "full": [full],
        "large": [whole(at / "large", classes=100, replicas=100, partitions=2, shards=30)],
        "hostile": [hostile(at / "'\"><img src=x onerror=alert(1)>")],
        "odd": [spoilt(at / "odd", 3)],
        "begun": [begun(at / "begun")],
        "sandblaster": [SAVED / "sandblaster"],
        "several": [serial, full, SAVED / "downpour", SAVED / "sandblaster"],
    }
    return {name: report(at / f"{name}.html", *runs) for name, runs in sorts.items()}


def test_nothing_overlaps_is_empty_or_is_asked_for(pages: dict[str, Path]) -> None:
    with browser() as chromium:
        for name, path in pages.items():
            seen = Seen(chromium, path)
            seen.open_all()
            for width, scheme in SHOWN:
                assert seen.look(width, scheme) == [], (name, width, scheme)
            assert seen.console == [], name
            assert seen.requests == [f"file://{path}".replace(" ", "%20")], name
            seen.page.close()


def test_switches_and_pointers(pages: dict[str, Path]) -> None:
    with browser() as chromium:
        page = Seen(chromium, pages["full"]).page
        loss = page.locator("figure.chart").first
        picture = "(one) => one.querySelector('canvas').toDataURL()"
        seen = {loss.evaluate(picture)}
        for axis in ("life", "examples", "minibatches", "updates"):
            page.check(f"input[value={axis}]")
            seen.add(loss.evaluate(picture))
        page.check("#log")
        seen.add(loss.evaluate(picture))
        loss.locator("button").first.click()
        seen.add(loss.evaluate(picture))
        assert len(seen) == 7
        matrix = page.locator("svg[data-matrix]").first
        matrix.focus()
        matrix.press("ArrowRight")
        matrix.press("ArrowDown")
        assert "class 1 was taken for class 0" in page.locator(".readout").first.inner_text()
        matrix.hover(position={"x": 5, "y": 5})
        assert page.emulate_media(media="print") is None and not page.locator("nav").is_visible()


def test_a_watched_page_reads_itself_again_and_keeps_its_place(tmp_path: Path) -> None:
    run = Recorded(tmp_path / "run")
    run.describe()
    run.begin()
    for second in range(1, 31):
        run.second(float(second))
    path = run.write()
    watching = subprocess.Popen(
        [sys.executable, "-m", "dbmpi.report", str(path), "--watch", "1"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert watching.stdout and watching.stdout.readline()
        with browser() as chromium:
            page = Seen(chromium, path / "report.html").page
            page.check("input[value=examples]")
            page.locator("#staleness-head").scroll_into_view_if_needed()
            top = page.locator("#staleness").bounding_box()["y"]
            for second in range(31, 61):
                run.second(float(second))
            run.end(60.0)
            run.write()
            page.wait_for_selector("text=finished: epochs", timeout=20_000)
            assert page.is_checked("input[value=examples]")
            assert abs(page.locator("#staleness").bounding_box()["y"] - top) < 3
        assert watching.wait(20) == 0
    finally:
        watching.kill()


def test_a_hundred_thousand_records_open_quickly(tmp_path: Path) -> None:
    run = Recorded(tmp_path / "run", shards=1)
    run.begin()
    for second in range(1, 100_001):
        if second % 100:
            run.record("train", float(second), loss=1 / second, accuracy=0.5, examples_per_s=second % 97)
        else:
            run.second(float(second), 1e5)
    page = report(tmp_path / "page.html", run.write())
    assert page.stat().st_size < 2_000_000
    with browser() as chromium:
        seen = Seen(chromium, page)
        assert seen.page.locator("canvas").count() > 5 and seen.console == []
