"""scripts/bench: turns, medians and ratios, what it prints and writes, and one short real part."""

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import processes
from scripts.bench import arguments, command, core, look, machine, rounds, table
from scripts.bench.core import Aim, Group, Row
from scripts.training_runs import random_data
from tests import ROOT

KEYS = {"group", "name", "unit", "status", "why", "aim", "by"}


def numbers(*values):
    """Return a turn that gives these in order."""
    left = list(values)
    return lambda: left.pop(0)


def measured(turns, *rows, **more):
    return rounds.measure([Group("g", turns, rows)], 3, 1e9, **more)["rows"]


def test_turns_alternate_round_by_round():
    seen = []
    turns = {name: lambda name=name: seen.append(name) or 1.0 for name in "ab"}
    rounds.measure([Group("g", turns, []), Group("h", {"c": lambda: seen.append("c") or 1.0}, [])], 3, 1e9)
    assert seen == ["a", "b", "c"] * 3


def test_medians_with_their_spread_and_ratios_of_each_round():
    turns = {"mine": numbers(30, 10, 20), "other": numbers(10, 10, 10)}
    (row,) = measured(turns, Row("r", "mine", "1/s", ("other",), Aim(at_least=1.5)))
    spread = {"median": 20, "mean": 20, "least": 10, "most": 30, "values": [30, 10, 20]}
    assert row["figure"] == {"name": "mine"} | spread
    assert (row["ratio"]["median"], row["ratio"]["least"], row["ratio"]["most"], row["met"]) == (
        2,
        1,
        3,
        True,
    )
    assert row.keys() == KEYS | {"figure", "against", "ratio", "met"}


@pytest.mark.parametrize(
    "aim, ratio, met",
    [
        (Aim(at_least=2.1), 2, False),
        (Aim(at_most=0.4), 0.5, False),
        (Aim(at_most=0.5), 0.5, True),
        (None, 2, None),
    ],
)
def test_of_seconds_a_ratio_says_how_many_times_as_fast_but_that_of_a_cost(aim, ratio, met):
    turns = {"mine": lambda: 1.0, "other": lambda: 2.0}
    (row,) = measured(turns, Row("r", "mine", "s", ("other",), aim, lower=True))
    assert (row["ratio"]["median"], row["met"]) == (ratio, met)
    assert ("MISSED" in "".join(table.lines(part([row])))) == (met is False)


def test_the_best_of_several_rivals_counts():
    turns = {"mine": lambda: 1.0, "both": lambda: {"slow": 4.0, "fast": 2.0}}
    for lower, best in ((True, "fast"), (False, "slow")):
        (row,) = measured(turns, Row("r", "mine", "s", ("slow", "fast"), lower=lower))
        assert row["against"]["name"] == best


def test_the_best_of_several_own_figures_counts_those_that_there_are():
    turns = {"ours": lambda: {"serial": 3.0, "sync": 1.0}, "new": lambda: 1 / 0, "other": lambda: 4.0}
    mine = ("serial", "sync", "new")
    (row,) = measured(turns, Row("r", mine, "s", ("other",), Aim(at_most=0.5), lower=True))
    assert (row["figure"]["name"], row["ratio"]["median"], row["met"]) == ("sync", 0.25, True)
    assert "ZeroDivisionError" in row["why"]


def test_a_row_by_its_mean_that_stands_alone_has_an_aim_of_its_own():
    row = Row("r", "lost", "points", aim=Aim(at_most=0.3), lower=True, by="mean")
    (found,) = measured({"lost": numbers(0.0, 0.1, 1.1)}, row)
    assert found["met"] is False and "mean 0.40 (0.00 to 1.10) points" in table.lines(part([found]))[1]
    (found,) = measured({"lost": numbers(0.0, 0.1, 0.5)}, row)
    assert found["met"] is True


def test_each_round_has_a_seed_of_its_own(tmp_path):
    turn = core.seeded(core.Options(tmp_path, seed=7), lambda seed: {"seed": seed})
    assert measured({"t": turn}, Row("r", "seed", "1"))[0]["figure"]["values"] == [7, 8, 9]


def test_a_bad_turn_and_a_missing_library_do_not_end_the_others(monkeypatch):
    def missing():
        core.require("torch")
        return 1.0

    monkeypatch.setattr(core, "find_spec", lambda name: None)
    turns = {"bad": lambda: 1 / 0, "torch": missing, "good": lambda: 1.0}
    rows = measured(turns, *(Row(name, name, "s", ("torch",)) for name in turns))
    assert [row["status"] for row in rows] == ["failed", "skipped", "measured"]
    assert "ZeroDivisionError" in rows[0]["why"] and "torch is not installed" in rows[2]["why"]
    assert "ratio" not in rows[2]
    text = "\n".join(table.lines(part(rows)))
    assert "bad" in text and "failed" in text and "torch is not installed" in text


def test_what_is_never_reached_is_null():
    turns = {"never": lambda: float("inf"), "other": lambda: 2.0}
    (row,) = measured(turns, Row("r", "never", "s", ("other",), Aim(1.0), lower=True))
    assert json.loads(json.dumps(row, allow_nan=False))["figure"]["median"] is None
    assert row["met"] is False and "never" in table.lines(part([row]))[1]


def test_no_round_is_begun_that_would_end_too_late():
    now = iter(range(100))
    found = rounds.measure([Group("g", {"a": lambda: 1.0}, [])], 9, 6, clock=lambda: next(now), started=0)
    assert found["rounds"] == 3


def test_a_turn_is_prepared_before_all_rounds():
    class Turn:
        made = 0

        def prepare(self):
            self.made += 1

        def __call__(self):
            return self.made

    (row,) = measured({"a": Turn()}, Row("r", "a", "1"))
    assert row["figure"]["values"] == [1, 1, 1]


def part(rows, **more):
    return {
        "name": "p",
        "what": "Something.",
        "status": "measured",
        "why": "",
        "seconds": 1,
        "rows": rows,
    } | more


def test_a_part_that_fails_is_said_and_the_next_is_measured(tmp_path, monkeypatch, capsys):
    seen = dict.fromkeys(("cpu", "cores", "python", "mpi", "blas"))
    seen |= {
        "load_at_start": (0.0,),
        "versions": {},
        "unset_for_the_measurement": {"OPENBLAS_CORETYPE": "Haswell"},
    }
    monkeypatch.setattr(machine, "describe", lambda: seen)
    monkeypatch.setattr(command.processes, "run", lambda words, **more: fake(words))

    def fake(words):
        if words[3] == "threads":
            return command.processes.Finished(words, 1, "", "it broke", 0.0, False, [])
        with open(words[5], "w") as out:
            json.dump({"rounds": 1, "rows": []}, out)
        return command.processes.Finished(words, 0, "", "", 0.0, False, [])

    out = tmp_path / "out.json"
    assert command.main(["threads", "step", "--out", str(out)]) == 1
    record = json.loads(out.read_text())
    assert [(one["name"], one["status"]) for one in record["parts"]] == [
        ("threads", "failed"),
        ("step", "measured"),
    ]
    assert record["schema"] == 1 and "it broke" in record["parts"][0]["why"]
    said = capsys.readouterr().out
    assert "FAILED" in said and "it broke" in said and "OPENBLAS_CORETYPE=Haswell" in said


def test_each_part_says_what_it_measures():
    assert {path.stem for path in (ROOT / "scripts" / "bench" / "parts").glob("*.py")} == set(arguments.PARTS)
    assert all(arguments.what(name).endswith(".") for name in arguments.PARTS)


MISTAKES = """nothing; --nothing; --data nowhere.h5; --recordings nowhere; --rounds 0; --load -1; --seconds 0
    --seconds nan; kernels --only nothing_such; --out nowhere/out.json; --out .
    accuracy --data tests/__init__.py"""


@pytest.mark.parametrize("words", [one.strip() for one in MISTAKES.replace("\n", ";").split(";")])
def test_a_mistake_ends_with_status_2_and_one_line(words, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit, match="2"):
        command.main(words.split())
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("scripts/bench: ")
    assert "nothing_such" not in words or "sum_of_squares n=669706" in line


def test_data_are_those_of_mnist_for_the_parts_that_use_them(tmp_path):
    def file(name, shape, classes):
        random_data(tmp_path / name, 50, shape, classes)
        return look.complaint(tmp_path / name)

    assert file("flat", (784,), 10) == file("square", (28, 28), 10) == ""
    assert "shape (50, 8, 8)" in file("small", (8, 8), 10) and "0 to 3" in file("few", (28, 28), 4)
    sources = {name: (ROOT / "scripts/bench/parts" / f"{name}.py").read_text() for name in arguments.PARTS}
    uses = re.compile(r"options\.data\b|require_data\(|tables\.TABLES|kinds\.KINDS")
    assert {name for name, text in sources.items() if uses.search(text)} == set(arguments.OF_DATA)


def test_a_row_about_a_rival_shows_nothing_without_it():
    def missing():
        raise core.Skipped("SciPy is not installed")

    turns = {"dbmpi": lambda: {"dbmpi 1": 1.0}, "SciPy": missing, "PyTorch": lambda: 1 / 0}
    rows = measured(turns, *(Row(name, "dbmpi 1", "s", (f"{name} 1",), pair=True) for name in turns))
    assert [row["status"] for row in rows] == ["measured", "skipped", "failed"]
    assert "figure" not in rows[1] and rows[1]["why"] == "SciPy skipped: SciPy is not installed"


def part_process(monkeypatch, rows=(), ends=None):
    """Let parts give these rows; `ends` is called in the second one."""
    monkeypatch.setattr(machine, "describe", lambda: {})
    monkeypatch.setattr(machine, "text", lambda found: "")

    def fake(words, **more):
        if ends and words[3] == "step":
            ends()
        Path(words[5]).write_text(json.dumps({"rounds": 1, "rows": rows}))
        return command.processes.Finished(words, 0, "", "", 0.0, False, [])

    monkeypatch.setattr(command.processes, "run", fake)


@pytest.mark.parametrize("number", processes.ENDING)
def test_a_signal_ends_it_in_one_line_and_keeps_what_is_measured(number, tmp_path, monkeypatch, capsys):
    part_process(monkeypatch, ends=lambda: os.kill(os.getpid(), number))
    out = tmp_path / "out.json"
    assert command.main(["threads", "step", "--out", str(out)]) == 128 + number
    found = json.loads(out.read_text())
    assert [one["name"] for one in found["parts"]] == ["threads"] and found["options"]["rounds"] is None
    assert found["options"]["seconds"] == 100 and [*tmp_path.iterdir()] == [out]
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_full_disk_is_one_line_and_status_1(tmp_path, monkeypatch, capsys):
    part_process(monkeypatch)
    assert command.main(["threads", "--out", "/dev/full"]) == 1
    assert "No space left" in capsys.readouterr().err


@pytest.mark.parametrize("status", ["measured", "skipped", "failed"])
def test_a_row_that_failed_gives_status_1_and_a_missed_aim_does_not(status, tmp_path, monkeypatch):
    row = dict.fromkeys(KEYS, "") | {"status": status, "met": False}
    part_process(monkeypatch, [row])
    assert command.main(["threads", "--out", str(tmp_path / "out.json")]) == (status == "failed")


def test_a_real_part_from_any_directory_on_one_thread_of_the_machines_own_kernels(tmp_path):
    """Forced core types are unset, and said."""
    arguments = ["kernels", "--only", "sum_of_squares n=669", "--rounds", "2", "--out", "out.json"]
    env = os.environ | {"OPENBLAS_CORETYPE": "Haswell"}
    command = [sys.executable, ROOT / "scripts" / "bench", *arguments]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "out.json").read_text())
    (row,) = record["parts"][0]["rows"]
    assert row["status"] == "measured" and row["ratio"]["median"] > 0
    assert record["environment"]["unset_for_the_measurement"]["OPENBLAS_CORETYPE"] == "Haswell"
    assert "sum_of_squares n=669706" in done.stdout


@pytest.mark.parametrize(
    "module, holder, names",
    [
        ("dbmpi.model.partition", "PartitionModel", ["differentiate"]),
        ("dbmpi.coordinator.scores", "ScoreKeeper", ["worthwhile"]),
        ("dbmpi.data.split", "Split", ["read", "labels_or_targets"]),
    ],
)
def test_what_changed_ranks_replace_is_there(module, holder, names):
    """`scripts.bench.rank` sets these attributes: under another name it would change nothing, in silence."""
    assert all(hasattr(getattr(importlib.import_module(module), holder), name) for name in names)


def test_the_step_that_is_measured_is_that_of_a_serial_run():
    from scripts.bench import steps

    keys = "downpour.rule=sgd", "downpour.learning_rate=0.02", "downpour.schedule.warmup_epochs=0"
    run = steps.context(None, ["train.minibatch=8", *keys], (64,))
    step = steps.step(run)
    losses = [step().loss_sum for _ in range(30)]
    assert losses[-1] < losses[0] / 1.2
