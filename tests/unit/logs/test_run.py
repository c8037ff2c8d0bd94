"""Runs, read from their directories."""

import json
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from dbmpi.errors import UserError
from dbmpi.logs.records import parse
from dbmpi.logs.run import open_run
from tests import ROOT

SAVED = ROOT / "tests" / "saved" / "0.1.0"


def line(kind: str, time_s: float, **values: object) -> str:
    return json.dumps({"kind": kind, "time_s": time_s, "step": 0, "examples": 0, **values})


@pytest.mark.parametrize("name", ["downpour", "sandblaster", "finished"])
def test_saved_runs_are_read(name: str) -> None:
    run = open_run(SAVED / name)
    assert not run.problems and run.config is not None and run.schema == 1
    assert np.isfinite(run.records("train").column("loss")).all()
    assert run.finished == (name == "finished")
    assert run.summary["steps"] > 0


def test_what_a_killed_job_had_recorded_is_superseded() -> None:
    lines = [
        line("job", 0.0, began=True, wall_s=2.0),
        line("train", 1.0, loss=3.0),
        line("train", 2.0, loss=2.0),
        '{"kind": "train", "ti',
        line("job", 1.0, began=True, wall_s=4.0),
        line("train", 2.0, loss=1.0),
        line("job", 2.5, began=False),
    ]
    log = parse(lines)
    train = log.kinds["train"]
    assert log.broken == 1 and len(log.jobs) == 2
    assert train.superseded.tolist() == [False, True, False]
    assert train.valid.column("loss").tolist() == [3.0, 1.0]
    assert train.life_s.tolist() == [3.0, 4.0, 4.0 + 4.0 + 1.0]
    assert [job.ended for job in log.jobs] == [False, True]


def test_fields_that_are_no_numbers_are_not_a_number() -> None:
    log = parse([line("train", 1.0, loss=None), line("train", 2.0), line("train", 3.0, loss="x"), "[]", "{}"])
    assert np.isnan(log.kinds["train"].column("loss")).all()
    assert log.broken == 2


def test_spoilt_files_are_told_and_the_rest_is_read(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[train]\nepochs = 'many'\n")
    (tmp_path / "run.json").write_text("[1]")
    (tmp_path / "metrics.jsonl").write_bytes(b"\xff\xfe\n" + line("train", 1.0, loss=1.0).encode() + b"\n")
    run = open_run(tmp_path)
    assert run.config is None and len(run.problems) == 2 and len(run.records("train")) == 1


@pytest.mark.parametrize("name", ["missing", "empty", "file", "nul\0"])
def test_what_is_no_run_is_one_message(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="name the directory of a run"):
        open_run(tmp_path / name)


@pytest.mark.parametrize("name", ["config.toml", "run.json", "summary.json", "metrics.jsonl"])
def test_what_is_no_file_is_told_and_not_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    assert [problem.endswith("cannot be read: it is no file") for problem in open_run(tmp_path).problems] == [
        True
    ]
    (tmp_path / name).unlink()
    (tmp_path / name).symlink_to(name)
    assert "too many" in open_run(tmp_path).problems[0].lower()


def test_files_that_no_run_writes_are_not_read_into_memory(tmp_path: Path) -> None:
    for name in ("run.json", "metrics.jsonl"):
        (tmp_path / name).touch()
        os.truncate(tmp_path / name, 65 << 20)
    (tmp_path / "metrics.jsonl").open("a").write("\n" + line("train", 1.0) + "\n")
    tracemalloc.start()
    try:
        run = open_run(tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 100 << 20
    finally:
        tracemalloc.stop()
    assert "is longer than a run writes it" in run.problems[0] and len(run.records("train")) == 1
