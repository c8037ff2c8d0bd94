"""The command: where the page and the tables go, and what is said where they cannot."""

import csv
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dbmpi.logs.run import open_run
from dbmpi.logs.state import state_of
from dbmpi.output.run_directory import check_foreign
from dbmpi.ownership.claim import Claimant
from dbmpi.report.command import main
from dbmpi.report.html import page
from tests.doubles.recorded import Recorded, hostile, whole


def test_the_page_is_in_the_run_directory_or_where_it_is_wanted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = whole(tmp_path / "run")
    assert main([str(run)]) == 0
    assert (run / "report.html").read_text().startswith(page.MARK)
    assert str(run / "report.html") in capsys.readouterr().out
    assert main([str(run), str(run), "-o", str(tmp_path / "both.html")]) == 0
    assert (tmp_path / "both.html").exists()
    assert main([str(run)]) == 0  # over the one that is there
    assert not list(run.glob(".*"))


def test_a_page_makes_no_directory_a_runs_and_takes_none_from_its_owner(tmp_path: Path) -> None:
    run = Recorded(tmp_path / "run")
    run.begin()
    path = run.write()
    claimed = Claimant(path, 60.0).attempt()
    assert claimed is not None and state_of(open_run(path)).runs
    before = sorted((path / ".owner").rglob("*"))
    assert main([str(path)]) == 0
    assert sorted((path / ".owner").rglob("*")) == before
    claimed[0].check()
    claimed[0].write_text("summary.json", "{}")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "report.html").touch()
    check_foreign(tmp_path / "other", of_a_run=False)


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("run", "is a folder"),
        ("nowhere/x.html", "its folder is not there"),
        ("run/metrics.jsonl", "is there already, and no report"),
        ("run/config.toml", "is there already, and no report"),
        ("x" * 300, "cannot be written"),
    ],
)
def test_a_place_that_will_not_do_is_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], output: str, words: str
) -> None:
    run = whole(tmp_path / "run")
    assert main([str(run), "-o", str(tmp_path / output)]) == 2
    said = capsys.readouterr().err
    assert words in said and said.count("\n") == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_full_disk_is_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(whole(tmp_path / "run")), "-o", "/dev/full"]) == 2
    assert "No space left" in capsys.readouterr().err
    assert os.path.exists("/dev/full")


def test_what_is_no_run_is_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 2
    assert "no run directory" in capsys.readouterr().err


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "x", "1e9"])
def test_seconds_that_are_none_are_told(
    tmp_path: Path, seconds: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([str(tmp_path), f"--watch={seconds}"])
    assert "number of seconds" in capsys.readouterr().err


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_each_kind_of_record_is_a_table(tmp_path: Path) -> None:
    run = whole(tmp_path / "run")
    assert main([str(run), "--csv", str(tmp_path / "csv")]) == 0
    kinds = {"train", "eval", "shard", "replicas", "event", "checkpoint", "job"}
    assert {path.stem for path in (tmp_path / "csv").iterdir()} == kinds
    train = rows(tmp_path / "csv" / "train.csv")
    assert len(train) == 70 and float(train[0]["waits.fetch"]) == 0.1
    assert [row["superseded"] for row in train].count("true") == 10
    assert train[-1]["job"] == "2" and float(train[-1]["life_s"]) == 75.0
    assert rows(tmp_path / "csv" / "replicas.csv")[0]["learned"] == "[1000, 1000, 1000]"


def test_tables_of_hostile_records_stay_in_their_folder(tmp_path: Path) -> None:
    run = hostile(tmp_path / "run")
    assert main([str(run), str(run), "--csv", str(tmp_path / "csv"), "-o", str(tmp_path / "page")]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"run", "csv", "page"}
    others = rows(tmp_path / "csv" / "others.csv")
    assert others[0]["'=1+1"] == "'=1+1" and others[0]["kind"] == "</script>"
    assert {row["run"] for row in others} == {"run (1)", "run (2)"}


def test_watching_goes_on_until_the_run_has_ended(tmp_path: Path) -> None:
    run = Recorded(tmp_path / "run")
    run.describe()
    run.begin()
    path = run.write()
    command = [sys.executable, "-m", "dbmpi.report", str(path), "--watch", "1"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout and "report.html" in child.stdout.readline()
        assert '"reload":1.0' in (path / "report.html").read_text()
        run.second(1.0)
        run.end(2.0)
        run.write()
        assert child.wait(30) == 0
    finally:
        child.kill()
    assert '"reload":0.0' in (path / "report.html").read_text()


def test_several_may_write_one_page(tmp_path: Path) -> None:
    run = whole(tmp_path / "run")
    command = [sys.executable, "-m", "dbmpi.report", str(run)]
    children = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(4)]
    assert [child.wait(60) for child in children] == [0] * 4
    assert (run / "report.html").read_text().endswith("</html>\n") and not list(run.glob(".report*"))


def test_an_interrupt_leaves_a_page_that_rests(tmp_path: Path) -> None:
    run = Recorded(tmp_path / "run")
    run.begin()
    path = run.write()
    command = [sys.executable, "-m", "dbmpi.report", str(path), "--watch"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert child.stdout and child.stdout.readline()
        time.sleep(0.2)
        child.terminate()
        _, said = child.communicate(timeout=30)
    finally:
        child.kill()
    assert child.returncode == 130 and said == "dbmpi: interrupted\n"
    assert '"reload":0.0' in (path / "report.html").read_text()
