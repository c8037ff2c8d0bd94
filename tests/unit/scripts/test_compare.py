"""scripts/compare: from the records of runs to curves, tables and a page. Runs nothing."""

import re
import tomllib

import pytest

from dbmpi.data.describe import Description
from scripts.compare import algorithms, charts, curves, page

DATA = Description("m.h5", 60_000, 10_000, (28, 28), 784, 10, None, "uint8", 1 / 255, 0.0, 128)
END = {"stop_reason": "max_time", "train_s": 20.0, "examples_per_s": 12_345.6, "test_accuracy": 0.98}
BATCH_END = {"iterations": 2, "passes": 4, "passes_s": 10.0, "waited_s": 0.5, "commands_s": 0.25}


def record(kind, time_s, examples, **values):
    return {"kind": kind, "time_s": time_s, "step": 0, "examples": examples, **values}


def iteration(time_s, examples, number, evaluations, passes_s, loss):
    seconds = {"passes_s": passes_s, "commands_s": 0.1, "bookkeeping_s": 0.05}
    rate = evaluations * 60_000 / passes_s
    return record(
        "iteration", time_s, examples, iteration=number, loss=loss, evaluations=evaluations,
        examples_per_s=rate, **seconds,
    )  # fmt: skip


@pytest.fixture
def downpour():
    records = [
        record("shard", 0.0, 0),
        record("eval", 1.0, 30_000, accuracy=0.94),
        record("train", 1.5, 45_000, loss=0.3),
        record("eval", 2.0, 60_000, accuracy=0.961),
        record("eval", 9.0, 300_000, accuracy=None),
        record("eval", 10.0, 330_000, accuracy=0.9812),
        record("train", 20.0, 600_000, loss=0.01234),
        record("eval", 20.2, 600_000, accuracy=0.98),
    ]
    return curves.curve_of("downpour", records, END | {"examples": 600_000, "updates": 6000})


@pytest.fixture
def lbfgs():
    """60,000 examples of warmstart until 2.0 s, and iterations after 1, 2 and 1 passes."""
    records = [
        record("eval", 1.0, 30_000, accuracy=0.935),
        record("train", 2.0, 60_000, loss=0.3),
        record("train", 3.0, 90_000, loss=0.2),
        iteration(4.15, 120_000, 0, 1, 2.0, 0.12),
        record("eval", 4.25, 120_000, accuracy=0.963),
        iteration(8.4, 240_000, 1, 2, 4.0, 0.10),
        record("eval", 8.5, 240_000, accuracy=0.971),
        iteration(10.65, 300_000, 2, 1, 2.0, 0.08),
        record("eval", 10.75, 300_000, accuracy=0.978),
        record("train", 14.0, 390_000, loss=0.5),
        record("eval", 14.2, 390_000, accuracy=0.978),
    ]
    return curves.curve_of("lbfgs", records, END | BATCH_END | {"examples": 390_000})


@pytest.fixture
def text(downpour, lbfgs):
    own = {"downpour": ["train.epochs=60"], "lbfgs": ["a=b", "c=d"]}
    about = page.Background("python x", "2 cores of Z", DATA, "784-512-10", ["e=f"], own, 0.5)
    return page.page(about, [downpour, lbfgs], ("p-time.svg", "p-examples.svg"))


def row(text, name, table):
    """Return the cells of the row `name` in the table under the heading `table`."""
    part = text.partition(f"## {table}\n")[2].partition("\n## ")[0]
    return re.search(rf"^\| {name} \| (.*) \|$", part, re.MULTILINE)[1].split(" | ")


def test_records_become_a_curve(downpour):
    assert [point.examples for point in downpour.points] == [30_000, 60_000, 330_000, 600_000]
    assert downpour.points[0] == curves.Point(1.0, 30_000, 0.94)
    assert downpour.warm is None and downpour.iterations == []
    assert downpour.loss == 0.01234
    assert curves.best(downpour) == 0.9812


def test_the_warmstart_ends_where_the_first_pass_begins(lbfgs):
    seconds, examples = lbfgs.warm
    assert (seconds, examples) == (pytest.approx(2.0), 60_000)
    assert lbfgs.loss == 0.08  # of the last iteration, though there is a later train record


def test_no_warmstart_is_told_from_one():
    start = iteration(2.2, 60_000, 0, 1, 2.0, 2.3)
    assert curves.curve_of("lbfgs-cold", [start], {}).warm is None


def test_time_of_evaluations_is_what_is_left(lbfgs):
    # 4.15 to 10.65 s, less two iterations of 4.15 and 2.15 s.
    assert curves.evaluations_s(lbfgs) == pytest.approx(6.5 - 6.3)


def test_a_run_stopped_in_its_warmstart_has_no_iterations():
    curve = curves.curve_of("lbfgs", [record("eval", 1.0, 100, accuracy=0.5)], {})
    assert curve.warm is None and curve.loss is None
    assert page.warmstart([curve]) == "" and page.updates([curve]) == ""


@pytest.mark.parametrize(
    "seconds, accuracy", [(0.5, None), (1.0, 0.94), (1.99, 0.94), (9.9, 0.961), (20.0, 0.9812), (20.3, None)]
)
def test_accuracy_at_a_time(downpour, seconds, accuracy):
    point = curves.at(downpour, lambda point: point.seconds, seconds)
    assert (point and point.accuracy) == accuracy


def test_accuracy_at_a_number_of_examples(downpour):
    assert curves.at(downpour, lambda point: point.examples, 100_000).accuracy == 0.961


def test_reaching_takes_the_first(downpour):
    assert curves.reaching(downpour, 0.98).seconds == 10.0
    assert curves.reaching(downpour, 0.94).seconds == 1.0
    assert curves.reaching(downpour, 0.99) is None


def test_round_numbers():
    assert curves.round_numbers(0.3, 12) == [0.5, 1, 2, 5, 10]
    assert curves.round_numbers(1, 5000, most=3) == [1000, 2000, 5000]
    assert curves.round_numbers(3, 4) == []


def test_levels_are_the_highest_reached(downpour, lbfgs):
    assert curves.levels([downpour, lbfgs]) == [0.93, 0.95, 0.96, 0.97, 0.975, 0.98]
    assert curves.levels([]) == []


def test_tables_of_the_page(text):
    assert row(text, "run", "Against time") == ["1 s", "2 s", "5 s", "10 s", "20 s"]
    assert row(text, "Downpour", "Against time") == ["94.00 %", "96.10 %", "96.10 %", "98.12 %", "98.12 %"]
    assert row(text, "L-BFGS", "Against time") == ["93.50 %", "93.50 %", "96.30 %", "97.10 %", "–"]
    assert row(text, "run", "Against examples") == ["50,000", "100,000", "200,000", "500,000"]
    assert row(text, "L-BFGS", "Against examples") == ["93.50 %", "93.50 %", "96.30 %", "–"]
    assert row(text, "L-BFGS", "Accuracies reached")[-3:] == ["8.5 (240,000)", "10.8 (300,000)", "–"]
    assert row(text, "Downpour", "At the end") == [
        "max_time", "20.0", "600,000", "12,346", "98.12 %", "98.00 %", "0.0123",
    ]  # fmt: skip
    assert row(text, "L-BFGS", "What was run") == ["`a=b`, `c=d`"]


def test_table_of_sandblaster(lbfgs):
    # 330,000 examples after the warmstart, in 10 s of passes.
    cells = ["L-BFGS", "2.0", "2", "4", "10.0", "33,000", "5 %", "0.25", "0.15", "0.2"]
    assert page.sandblaster_row(lbfgs) == cells


def test_sentences_of_the_page_hold_the_numbers(text):
    flat = " ".join(text.split())
    assert "97.5 % is the highest of these that both reached from the warmstart: Downpour" in flat
    assert "Downpour after 10.0 s and 330,000 examples, L-BFGS after 10.8 s and 300,000 examples." in flat
    assert "for L-BFGS after 2.0 s and 60,000 examples, with an accuracy of 96.30 %" in flat
    assert "that is nearest, at 60,000 examples, gave 96.10 %." in flat
    # sqrt(0.9812 x 0.0188 / 10,000)
    assert "the standard error of an accuracy of 98.12 % is 0.14 points" in flat
    assert "6,000 by Downpour, 2 by L-BFGS after its warmstart (passes: 4)" in flat
    assert "![Test accuracy against training time](p-time.svg)" in text and "(p-examples.svg)" in text


def test_the_page_is_markdown_as_meant(text):
    for line in text.splitlines():
        assert len(line) <= 120 or line.startswith("|")
        assert not re.match(r"\+ |- |\d+\. |%", line) and "{" not in line
    rows = [line for line in text.splitlines() if line.startswith("|")]
    tables = [block for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) == 6 and sum(block.count("\n") + 1 for block in tables) == len(rows)
    for block in tables:
        assert len({line.count("|") for line in block.splitlines()}) == 1


def test_the_verdict_needs_both(downpour, lbfgs):
    low = curves.Curve("lbfgs", [curves.Point(1.0, 1, 0.1)], None, [], None, {})
    assert page.verdict([downpour]) == ""
    assert page.verdict([downpour, low]) == ""


def test_a_page_of_downpour_alone(downpour):
    own = {"downpour": ["g=h"]}
    about = page.Background("python x", "2 cores of Z", DATA, "784-10", ["e=f"], own, 0.5)
    alone = page.page(about, [downpour], ("a", "b"))
    assert "Where the time of Sandblaster went" not in alone and "\n\n\n" not in alone


def test_settings():
    given = algorithms.parse(["--seconds", "7", "--iterations", "9"])
    general, own = algorithms.settings_of(given, DATA)
    model = tomllib.loads(general[0])["model"]["layers"]
    assert [layer["units"] for layer in model] == [512, 512, 10] and "activation" not in model[-1]
    assert "train.max_time=7" in general and "evaluation.every_epochs=0.5" in general
    warm = "sandblaster.warmstart_examples=60000"
    assert warm in own["lbfgs"] and warm in own["cg"] and warm not in own["lbfgs-cold"]
    assert "sandblaster.iterations=9" in own["lbfgs-cold"]
    assert all("train.algorithm=sandblaster" in own[key] for key in ("lbfgs", "cg", "lbfgs-cold"))
    assert not any("sandblaster" in setting for setting in [*general, *own["downpour"]])


def test_runs_come_in_their_order():
    assert algorithms.parse(["--runs", "lbfgs", "downpour"]).runs == ["downpour", "lbfgs"]
    with pytest.raises(SystemExit):
        algorithms.parse(["--every", "2"])


def test_without_matplotlib_nothing_runs(monkeypatch, tmp_path):
    monkeypatch.setattr(algorithms.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(algorithms, "train", lambda *_: pytest.fail("a run"))
    with pytest.raises(SystemExit, match=r'extra "report"'):
        algorithms.main(["--out", str(tmp_path / "page.md")])


def test_charts_repeat_exactly_and_are_small(downpour, lbfgs, tmp_path):
    pytest.importorskip("matplotlib")
    paths = [tmp_path / name for name in ("1.svg", "2.svg")]
    for path in paths:
        charts.draw(path, [downpour, lbfgs], lambda point: point.examples, "examples", "log")
    content = paths[0].read_text()
    assert content == paths[1].read_text() and len(content) < 60_000
    assert "dc:date" not in content
    for label in ("Downpour", "L-BFGS", "end of the warmstart", "test accuracy", "100 k", "95 %"):
        assert label in content
