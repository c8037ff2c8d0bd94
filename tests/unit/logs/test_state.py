"""What has become of a run, and the five lines that say so."""

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from dbmpi import status
from dbmpi.diagnosis.finding import Finding
from dbmpi.errors import STATUS_DIVERGED, STATUS_FAILURE, STATUS_OK, STATUS_STOPPED, STATUS_USER_ERROR
from dbmpi.logs import brief
from dbmpi.logs.run import RunLog, open_run
from dbmpi.logs.state import ago, state_of
from dbmpi.ownership import record
from dbmpi.ownership.identity import Identity
from dbmpi.ownership.record import Owner
from tests import ROOT

SAVED = ROOT / "tests" / "saved" / "0.1.0"
ALIVE = Owner(Identity.own(), "launch", "token", "2026-11-30T03:51:09+00:00", 60.0)
GONE = replace(ALIVE, identity=replace(Identity.own(), start=1))
ELSEWHERE = replace(ALIVE, identity=replace(Identity.own(), host="far", machine="other"))
OVER = replace(ALIVE, ended=True)


@pytest.fixture
def run(tmp_path) -> Path:
    """A run that was stopped."""
    return Path(shutil.copytree(SAVED / "downpour", tmp_path / "a run"))


def owned(run: Path, owner: Owner | None, renewed_s: float = 3.0) -> Path:
    """Give a run an owner that renewed its lease so long ago; None: one whose record is damaged."""
    room = record.room(run, 1)
    room.mkdir(parents=True, exist_ok=True)
    path = room / record.RECORD
    path.write_bytes(b"{" if owner is None else owner.to_bytes())
    at = time.time() - renewed_s
    os.utime(path, (at, at))
    return run


def lines(run: Path, *records: dict[str, object]) -> None:
    """Let a run have these records."""
    base = {"time_s": 1.0, "step": 10, "examples": 500}
    (run / "metrics.jsonl").write_text("".join(json.dumps(base | one) + "\n" for one in records))


@pytest.mark.parametrize(
    ("owner", "renewed_s", "told", "code"),
    [
        (ALIVE, 3.0, "running: process THIS on ", STATUS_OK),
        (ALIVE, 3.0, "lease renewed 3 s ago", STATUS_OK),
        (ELSEWHERE, 3.0, "on far, since 2026-11-30", STATUS_OK),
        (ELSEWHERE, 90.0, "has run out (renewed 1:30 ago, it holds for 60 s)", STATUS_FAILURE),
        (GONE, 3.0, "runs no more, and has not said how it ended; go on with: mpirun -n 5", STATUS_FAILURE),
        (None, 3.0, "cannot be read", STATUS_FAILURE),
        (OVER, 3.0, "stopped: max_time; go on with: ", STATUS_STOPPED),
    ],
)
def test_the_state_is_that_of_the_owner(run, owner, renewed_s, told, code):
    state = state_of(open_run(owned(run, owner, renewed_s)))
    assert told.replace("THIS", str(os.getpid())) in state.text
    assert state.status == code and state.runs == (code == STATUS_OK)


@pytest.mark.parametrize(
    ("status", "told", "code"),
    [
        (0, "finished: epochs", 0),
        (3, "ended with status 3: epochs", 3),
        (None, "finished: epochs", 0),
        (1e999, "finished", 0),
    ],
)
def test_a_run_that_is_over_ended_as_it_has_said(tmp_path, status, told, code):
    (tmp_path / "config.toml").touch()
    (tmp_path / "finished").write_text("epochs\n")
    (tmp_path / "summary.json").write_text(json.dumps({"status": status}))
    state = state_of(open_run(tmp_path))
    assert state.text.startswith(told) and state.status == code


def test_a_command_goes_on_with_a_run_whatever_it_is_called(run):
    command = state_of(open_run(run)).text.partition("go on with: ")[2]
    assert command == (f"mpirun -n 5 python -m dbmpi.train '{run}/config.toml' --run-dir '{run}'")


def test_a_finished_run_is_no_more_than_that(tmp_path):
    run = Path(shutil.copytree(SAVED / "finished", tmp_path / "run"))
    for owner in (OVER, GONE):  # its process may have been killed after all was written
        assert state_of(open_run(owned(run, owner))).text == "finished: epochs"


def test_a_job_that_has_not_told_its_end_has_none(run):
    """The summary is of the job before it."""
    lines(run, {"kind": "job", "began": True}, {"kind": "train", "loss": 1.0})
    state = state_of(open_run(owned(run, OVER)))
    assert "has not said how" in state.text and state.status == STATUS_FAILURE


def test_a_run_that_diverged_has_its_status(run):
    (run / "summary.json").write_text(json.dumps({"status": STATUS_DIVERGED, "stop_reason": "divergence"}))
    state = state_of(open_run(owned(run, OVER)))
    assert state.text.startswith("ended with status 3: divergence;") and state.status == STATUS_DIVERGED


def test_five_lines_of_a_run_that_goes_on(run):
    train = {"kind": "train", "loss": 0.5, "accuracy": 0.9, "examples_per_s": 1000.0, "epoch": 200.0}
    train |= {"examples": 287_400, "wait_share": 0.3, "waits": {"fetch": 0.2, "data": 0.1, "states": 0.0}}
    train |= {"staleness_mean": 1.25, "staleness_max": 4}
    events = [{"kind": "event", "text": f"event {i}", "time_s": 60.0 + i} for i in range(5)]
    lines(run, {"kind": "job", "began": True}, *events, train | {"time_s": 0.6})
    run_log = open_run(owned(run, ALIVE))
    said = brief.lines(run_log, state_of(run_log))
    assert len(said) == 5 and said[0].startswith("state     running: ")
    assert said[1] == (
        "roles     5 ranks = 1 coordinator + 2 shards + 1 replica x 2 partitions, on 1 host, downpour"
    )
    assert said[2] == (
        "progress  50%, 287,400 examples, epoch 200, loss 0.5, accuracy 90.00%, 1,000 examples/s, 1 s left"
    )
    assert said[3] == (
        "health    staleness 1.2, at most 4; partitions wait 30% of their time: fetch 20%, data 10%"
    )
    assert said[4].startswith("last      checkpoint 2, ")
    assert said[4].endswith(" ago; at 1:04 event 4; at 1:03 event 3; at 1:02 event 2")


def test_what_a_run_took_that_has_ended_is_told_of_all_of_it(run):
    train = {"kind": "train", "loss": 0.5, "examples_per_s": 9000.0, "waits": {"data": 0.9}}
    train |= {"staleness_mean": 0.1, "staleness_max": 1}
    summary = {
        "status": 0,
        "examples_per_s": 500.0,
        "busy_s": 9.0,
        "waits_s": {"fetch": 3.0, "coordinator": 1.0},
    }
    summary |= {"updates": 10, "staleness_mean": 2.0, "staleness_max": 7}
    (run / "summary.json").write_text(json.dumps(summary))
    begin, end = ({"kind": "job", "began": began} for began in (True, False))
    lines(run, begin, train, end)
    ended = open_run(run)
    assert "500 examples/s" in brief.progress(ended, runs=False)
    told = "staleness 2.0, at most 7; partitions wait 40% of their time: fetch 30%, coordinator 10%"
    assert brief.health(ended) == told
    lines(run, begin, end, begin, train)  # a later job goes on: the summary is not of it
    assert (
        brief.health(open_run(run)) == "staleness 0.1, at most 1; partitions wait 90% of their time: data 90%"
    )


def test_the_rate_is_none_of_a_moment(run):
    """The last record may be of a hundredth of a second."""
    rates = [(0.0, 1.0, 9000.0), (5.0, 0.5, 1000.0), (5.5, 0.49, 1000.0), (5.51, 0.01, 90_000.0)]
    names = "time_s", "interval_s", "examples_per_s"
    lines(
        run,
        {"kind": "job", "began": True},
        *({"kind": "train"} | dict(zip(names, one, strict=True)) for one in rates),
    )
    assert "1,890 examples/s" in brief.progress(open_run(run), runs=True)


@pytest.mark.parametrize("name", ["downpour", "sandblaster", "finished"])
def test_old_runs_are_told(name, capsys):
    code = status.main([str(SAVED / name)])
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 5 and code == (STATUS_OK if name == "finished" else STATUS_STOPPED)
    assert "staleness" in said[3] or name == "sandblaster"


@pytest.mark.parametrize("name", ["config.toml", "run.json", "metrics.jsonl", "summary.json"])
@pytest.mark.parametrize(
    "content", ["", "{", "[1]", '{"kind": "train", "time_s": NaN}\n{"kind": "train"', None]
)
def test_whatever_is_in_its_files_there_are_five_lines(run, name, content, capsys):
    (run / name).unlink()
    if content is not None:
        (run / name).write_text(content)
    code = status.main([str(owned(run, ALIVE))])
    said = capsys.readouterr().out.splitlines()
    assert code == STATUS_OK
    assert [line.partition(" ")[0] for line in said[:5]] == list(brief.NAMES)


def test_fields_may_be_anything(run, capsys):
    odd = {"step": float("nan"), "examples": "x", "epoch": [], "waits": {"a": None}, "wait_share": "b"}
    odd |= {
        "loss": None,
        "staleness_mean": {},
        "iteration": 1e999,
        "shard": [],
        "text": 7,
        "split": 3,
        "updates": "y",
    }
    kinds = "train", "iteration", "eval", "shard", "event", "job"
    lines(run, *({"kind": kind} | odd for kind in kinds))
    (run / "run.json").write_text(json.dumps({"equation": ["\x1b[2J"], "ranks": [3, {"host": {}}]}))
    assert status.main([str(owned(run, ALIVE))]) == STATUS_OK
    said = capsys.readouterr().out
    assert len(said.splitlines()) == 5 and "\x1b" not in said


def test_what_is_no_file_is_not_waited_for(run, capsys):
    (run / "summary.json").unlink()
    manifest = max((run / "checkpoints").iterdir()) / "manifest.json"
    manifest.unlink()
    for path in (run / "finished", manifest):
        os.mkfifo(path)
    assert status.main([str(owned(run, OVER))]) == STATUS_OK
    assert "finished: no reason is told" in capsys.readouterr().out


@pytest.mark.parametrize("said", [float("nan"), 1e999, 1e300, -1, 256, "85", None, [], 10**400])
def test_a_status_that_is_none_is_that_of_a_failure(run, said):
    (run / "summary.json").write_text(json.dumps({"status": said}))
    assert state_of(open_run(owned(run, OVER))).status == STATUS_FAILURE


def test_names_of_files_are_told_on_one_line(tmp_path, capsys):
    run = Path(shutil.copytree(SAVED / "downpour", tmp_path / "a\n\x1b[2Jrun"))
    (run / "run.json").write_text("[")
    assert status.main([str(owned(run, ALIVE))]) == STATUS_OK
    assert status.main([str(run / "no\nrun")]) == STATUS_USER_ERROR
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 6 and said.err.count("\n") == 1 and "\x1b" not in said.out + said.err


def test_a_run_that_has_just_been_launched_is_one(tmp_path, capsys):
    assert status.main([str(owned(tmp_path, ALIVE))]) == STATUS_OK
    assert "nothing is recorded yet" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["gone", "file", "empty"])
def test_what_is_no_run_is_said(tmp_path, capsys, name):
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    assert status.main([str(tmp_path / name)]) == STATUS_USER_ERROR
    said = capsys.readouterr().err
    assert said.startswith("dbmpi: error: ") and len(said.splitlines()) == 1


def test_what_is_to_be_done_something_about_is_told_first(run, capsys, monkeypatch):
    def found(log: RunLog) -> list[Finding]:
        kinds = ("learning", "bad"), ("staleness", "warning"), ("goodput", "good")
        return [Finding(about, severity, f"This is {about}.") for about, severity in kinds]

    monkeypatch.setattr("dbmpi.diagnosis.verdict.findings", found)
    status.main([str(run)])
    assert "\nhealth    bad: This is learning. staleness" in capsys.readouterr().out
    status.main([str(owned(run, ALIVE))])  # of which not all records are read
    assert "\nhealth    warning: This is staleness. staleness" in capsys.readouterr().out


def test_watching_ends_with_the_run(run, capsys, monkeypatch):
    owned(run, ALIVE)
    looks = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 2:
            owned(run, OVER)

    monkeypatch.setattr(status.time, "sleep", sleep)
    assert status.main([str(run), "--watch", "0.5"]) == STATUS_STOPPED
    assert looks == [0.5, 0.5]
    assert len(capsys.readouterr().out.splitlines()) == 15


def test_in_a_narrow_window_what_is_watched_loses_no_word(run, capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(sys.stdout, "fileno", lambda: 1)
    monkeypatch.setattr(status.os, "get_terminal_size", lambda _: os.terminal_size((40, 24)))
    status.main([str(run)])
    whole = capsys.readouterr().out.partition(" ago")[0]
    assert status.main([str(run), "--watch"]) == STATUS_STOPPED
    rows = capsys.readouterr().out.splitlines()
    assert max(map(len, rows)) < 40
    assert "".join(rows).replace(" ", "").startswith("".join(whole.split()))


@pytest.mark.parametrize("words", [["--watch", "0"], ["--watch", "nan"], ["--watch", "x"]])
def test_an_interval_must_be_one(run, words, capsys):
    with pytest.raises(SystemExit) as left:
        status.main([str(run), *words])
    assert left.value.code == STATUS_USER_ERROR


def test_a_long_file_is_read_from_its_end(run):
    row = json.dumps({"kind": "train", "time_s": 1.0, "step": 1, "examples": 1, "loss": 1.0}) + "\n"
    (run / "metrics.jsonl").write_text(row * 1000)
    few = open_run(run, 10 * len(row))
    assert 8 <= len(few.records("train")) <= 10 and few.log.broken == 0


def test_it_loads_no_mpi_and_nothing_that_compiles():
    words = [sys.executable, "-X", "importtime", "-m", "dbmpi.status", str(SAVED / "finished")]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60)
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert done.returncode == 0 and "numpy" in loaded
    assert not loaded & {"mpi4py", "numba", "h5py", "scipy"}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5.0, "0 s ago"), (61.0, "1:01 ago"), (90_000, "25:00:00 ago"), (259_200, "3 days ago")],
)
def test_how_long_ago(seconds, text):
    assert ago(seconds) == text
