"""scripts/compare: from the records of runs to curves, tables and a page. Runs nothing."""

import json
import re
import tomllib
from operator import attrgetter

import pytest

from dbmpi.data.describe import Description
from scripts.compare import charts, command, curves, figures, keep, page, plan
from scripts.compare.plan import Case

DATA = Description("m.h5", 60_000, 10_000, (28, 28), 784, 10, None, "uint8", 1 / 255, 0.0, 128)
END = {"examples_per_s": 12_345.6, "staleness_mean": 2.96, "train_s": 12.0}
POINTS = [[1.0, 30_000, 0.94], [2.0, 60_000, 0.961], [10.0, 240_000, 0.9812], [20.0, 600_000, 0.98]]


def curve(case, points=POINTS, **more):
    return curves.curve_of(case, {"evaluations": points, "summary": END | more})


@pytest.fixture
def run():
    return curve(Case("sync", 6, False))


@pytest.fixture
def text():
    some = [
        Case("serial", 0, False),
        Case("sync", 6, False),
        Case("sync", 6, True),
        Case("adagrad", 2, False),
    ]
    about = page.Background("python x", "2 cores of Z", DATA, ["e=f"], 12.0, 0.5)
    return page.page(
        about, [*map(curve, some), curve(Case("lbfgs", 6, False), iterations=3)], ["t.svg", "x.svg"]
    )


def row(text, name, heading):
    """Return the cells of the row `name` in the table under a heading."""
    part = text.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return re.search(rf"^\| {re.escape(name)} \| (.*) \|$", part, re.MULTILINE)[1].split(" | ")


def test_records_become_a_curve(tmp_path):
    lines = [{"kind": "shard"}, {"kind": "eval", "time_s": 1.0, "examples": 5, "accuracy": 0.5}]
    lines.append({"kind": "eval", "time_s": 2.0, "examples": 9, "accuracy": None})
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (tmp_path / "summary.json").write_text(json.dumps(END))
    (tmp_path / "run.json").write_text(json.dumps({"mpi": "M"}))
    kept = curves.read_run(tmp_path)
    assert kept == {"evaluations": [[1.0, 5, 0.5]], "summary": END, "about": {"mpi": "M"}}
    assert curves.curve_of(Case("cg", 2, True), kept).points == [curves.Point(1.0, 5, 0.5)]


@pytest.mark.parametrize("seconds, accuracy", [(0.5, None), (1.99, 0.94), (9.9, 0.961), (20.3, None)])
def test_accuracy_at_a_time(run, seconds, accuracy):
    point = curves.at(run, attrgetter("seconds"), seconds)
    assert (point and point.accuracy) == accuracy


def test_reaching_takes_the_first_and_the_best_is_within_the_time(run):
    assert curves.reaching(run, 0.98).seconds == 10.0 and curves.reaching(run, 0.99) is None
    assert curves.within(run, 9) == 0.961 and curves.within(run, 0.1) is None and curves.top([run]) == 0.9812


def test_all_ways_have_a_style_and_every_run_is_planned_once():
    assert charts.STYLES.keys() == plan.WAYS.keys()
    names = [case.name for case in plan.cases([*plan.WAYS], plan.REPLICAS)]
    assert len({*names}) == len(names) == 2 * (1 + 8 * 3 - 1)  # serial once; no backups among two
    assert "backups-2-idle" not in names and {"serial-busy", "backups-28-idle"} <= {*names}


def test_settings_of_runs():
    assert Case("serial", 0, True).settings(9) == [] and Case("serial", 0, True).ranks == 1
    own = Case("backups", 28, False)
    assert own.ranks == 30 and "cluster.replicas=28" in own.settings(9)
    assert {"train.algorithm=sync", "downpour.backups=3"} <= {*own.settings(9)}
    assert "sandblaster.warmstart_examples=9" in Case("cg", 2, False).settings(9)


def test_settings_of_all_runs():
    general = command.settings(command.parse(["--seconds", "7"]), DATA)
    model = tomllib.loads(general[0])["model"]["layers"]
    assert [layer["units"] for layer in model] == [512, 512, 10] and "activation" not in model[-1]
    assert "train.max_time=7" in general and "evaluation.every_epochs=0.5" in general
    assert command.parse(["--ways", "sync", "serial"]).ways == ["serial", "sync"]
    with pytest.raises(SystemExit):
        command.parse(["--every", "2"])


def test_tables_of_the_page(text):
    assert row(text, "sync", "The best accuracy within 12 s") == ["–", "–", "98.12 %", "98.12 %"]
    assert row(text, "Downpour, Adagrad", "Accuracy after 240,000 examples") == ["98.12 %", "–", "–", "–"]
    assert row(text, "serial (idle, busy)", "Seconds to 95 %") == ["2.0", "–", "", ""]
    assert row(text, "sync", "Examples/s")[2] == "12,346"
    late = "Mean staleness, in updates"
    assert (row(text, "sync", late)[2], row(text, "Sandblaster, L-BFGS", late)[2]) == ("3.0", "–")
    assert row(text, "sync", "What was run") == ["`train.algorithm=sync`"]


def test_the_page_begins_with_five_sentences_and_is_markdown_as_meant(text):
    top = text.partition("\n\n")[2].partition("\n\n")[0]
    assert len(re.findall(r"^\* ", top, re.MULTILINE)) == 5 and "{" not in text
    for line in text.splitlines():
        assert len(line) <= 120 or line.startswith("|")
    for block in (block for block in text.split("\n\n") if block.startswith("|")):
        assert len({line.count("|") for line in block.splitlines()}) == 1
    # sqrt(0.9812 x 0.0188 / 10,000)
    assert "the standard error of an accuracy of 98.12 % is 0.14 points" in " ".join(text.split())


def test_sentences_hold_figures_of_runs_that_there_are(run):
    every = figures.quantities(12, 240_000, page.LEVELS)
    said = "sync {accuracy sync 6 idle}, {seconds 95% sync 6 idle} s, alone {rate serial idle}"
    assert figures.filled(said, every, [run]) == "sync 98.12 %, 2.0 s, alone –"
    with pytest.raises(SystemExit, match="no speed"):
        figures.filled("{speed sync 6 idle}", every, [run])


def test_sentences_name_runs_that_are_planned():
    names = {case.name for case in plan.cases([*plan.WAYS], plan.REPLICAS)}
    found = re.findall(r"\{([^}]+)\}", page.SENTENCES.read_text())
    words = [one.split()[2 if one.startswith("seconds") else 1 :] for one in found]
    assert words and {"-".join(one) for one in words} <= names


def fake_run(ranks, run_dir, settings, *more):
    for name in ("summary.json", "run.json"):
        (run_dir / name).write_text(json.dumps(END | {"stop_reason": "max_time", "test_accuracy": 0.9}))
    (run_dir / "metrics.jsonl").write_text("")
    return json.loads((run_dir / "summary.json").read_text())


def test_what_a_run_gave_is_kept_by_its_settings(tmp_path, monkeypatch):
    monkeypatch.setattr(keep, "train", fake_run)
    case, other = Case("sync", 2, False), Case("adagrad", 2, False)
    before = keep.Keep(tmp_path / "kept", ["a=1"], 9, 3.0)
    before.run(case)
    assert keep.Keep(tmp_path / "kept", ["a=1"], 9, 3.0).has(case) and not before.has(other)
    assert before.of(case)["summary"]["train_s"] == 12.0
    assert not keep.Keep(tmp_path / "kept", ["a=2"], 9, 3.0).has(case)


def test_a_comparison_in_pieces_says_how_many_runs_are_left(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command.importlib.util, "find_spec", lambda name: True)
    monkeypatch.setattr(keep, "train", fake_run)
    asked = ["--out", str(tmp_path / "p.md"), "--keep", str(tmp_path), "--within", "1", "--ways", "sync"]
    assert command.main(asked) == 1
    assert "6 of 6 runs are left" in capsys.readouterr().out and not (tmp_path / "p.md").exists()


def test_without_matplotlib_nothing_runs(monkeypatch, tmp_path):
    monkeypatch.setattr(command.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(keep, "train", lambda *_: pytest.fail("a run"))
    with pytest.raises(SystemExit, match=r'extra "compare"'):
        command.main(["--out", str(tmp_path / "page.md")])


def test_charts_repeat_exactly_and_are_small(run, tmp_path):
    pytest.importorskip("matplotlib")
    some = [run, curve(Case("serial", 0, True)), curve(Case("adam", 2, False))]
    paths = [tmp_path / name for name in ("1.svg", "2.svg")]
    for path in paths:
        charts.draw(path, some, "examples", "examples", "log")
    content = paths[0].read_text()
    assert content == paths[1].read_text() and len(content) < 100_000 and "dc:date" not in content
    for label in ("Downpour, Adam", "serial", "6 replicas, busy", "test accuracy", "95 %"):
        assert label in content
