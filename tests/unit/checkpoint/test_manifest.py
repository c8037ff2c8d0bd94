"""Checkpoints on disk: damage is seen, whatever it is, and the one before is found."""

import json
import shutil
from pathlib import Path

import pytest

from dbmpi.checkpoint import manifest
from dbmpi.checkpoint.directory import (
    INDEX,
    MANIFEST,
    checkpoint_directory,
    clear_unfinished,
    construction_directory,
    prune,
    record_of,
    shard_file_name,
)
from dbmpi.checkpoint.manifest import Checkpoint, Damaged, Manifest
from dbmpi.checkpoint.run_state import DownpourState, RunState, StoppingState
from dbmpi.checkpoint.scheduler_state import SchedulerState
from dbmpi.comm.assignments import Note, PlanNumbers, Portion
from dbmpi.output.totals import EvaluationSums, LogState, ServiceTotals

MODEL = {"dtype": "float32", "rows": 9, "tensors": {"layers.0.weight": [2, 3]}}
LOG = LogState(1.5, 2.5, 3, 9, 0, 0, 0, 0, EvaluationSums(0.5, 1, 2), ServiceTotals(updates=3))
PLAN, EARLIER = PlanNumbers(9, 1, 2, 1, 2, None), PlanNumbers(9, 1, 3, 1, 2, 4)
SCHEDULER = SchedulerState(
    examples=9,
    steps=3,
    epoch=1,
    left=((1, 2), (0, 0)),
    returned=(Portion(1, 1, 2, 1, 1, 5, PLAN), Portion(0, 1, 0, 2, 2, 5, EARLIER)),
    plan=PLAN,
    rests=(Portion(1, 0, 0, 1, 1, 0, PLAN, first=1),),
    outstanding=(Portion(0, 2, 0, 1, 1, 5, EARLIER, first=1),),
    unplaced=({"epoch": 0, "part": 1, "index": 0, "minibatches": 1, "examples": 1, "before": 0},),
)
NOTES = Note(1, SCHEDULER.returned[0], False), Note(0, SCHEDULER.returned[1], True, 7)
STATE = RunState(LOG, StoppingState(2.25, 1), downpour=DownpourState(SCHEDULER, True, (3, 0), NOTES))


def made(run_dir: Path, number: int, score: float | None = None, content: bytes = b"values" * 100) -> Path:
    """Make a checkpoint of two files that are no HDF5: nothing here opens them."""
    part = construction_directory(run_dir, number)
    part.mkdir(parents=True)
    files = {}
    for name in (shard_file_name(0), INDEX):
        (part / name).write_bytes(content)
        files[name] = record_of(part / name)
    shape = {"shards": 1, "replicas": 1, "partitions": 1}
    said = Manifest(number, "2026-01-01T00:00:00", "downpour", MODEL, shape, files, "", {}, score, STATE)
    manifest.publish(run_dir, said)
    return checkpoint_directory(run_dir, number)


def found(run_dir: Path) -> list[int | str]:
    """The numbers of those that are whole, and the first word of what is wrong with the others."""
    return [
        one.manifest.number if isinstance(one, Checkpoint) else str(one).split()[0].rstrip(":")
        for one in manifest.whole(run_dir)
    ]


def test_newest_first_and_nothing_is_lost_on_the_way(tmp_path):
    for number in (1, 2, 10):
        made(tmp_path, number, score=0.1 * number)
    assert found(tmp_path) == [10, 2, 1]
    read = manifest.read(checkpoint_directory(tmp_path, 2)).manifest
    assert (read.number, read.score, read.state) == (2, 0.2, STATE)


@pytest.mark.parametrize("name", [MANIFEST, INDEX, "shard-0000.h5"])
def test_every_flipped_bit_and_every_cut_is_seen(tmp_path, name):
    path = made(tmp_path, 1) / name
    whole = path.read_bytes()
    for at in range(0, len(whole), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        assert found(tmp_path) == [f"000001/{name}"], at
        path.write_bytes(whole[:at])
        assert found(tmp_path) == [f"000001/{name}"], at
    path.unlink()
    assert found(tmp_path) == [f"000001/{name}"]


def test_what_is_under_construction_does_not_count_and_is_cleared(tmp_path):
    made(tmp_path, 1)
    left = construction_directory(tmp_path, 2)
    left.mkdir()
    assert found(tmp_path) == [1]
    clear_unfinished(tmp_path)
    assert not left.exists() and found(tmp_path) == [1]


def test_a_newer_format_is_refused_by_name(tmp_path):
    path = made(tmp_path, 1) / MANIFEST
    content = json.loads(path.read_text())
    del content[manifest.SEAL]
    content["format"] += 1
    path.write_text(json.dumps(content | {manifest.SEAL: manifest._seal(content)}))
    with pytest.raises(Damaged, match="newer version"):
        manifest.read(path.parent)


@pytest.mark.parametrize("missing", ["stopping", "first_loss", "last_evaluation", "ledger", "plan"])
def test_a_state_that_lacks_something_is_refused(tmp_path, missing):
    path = made(tmp_path, 1) / MANIFEST
    content = json.loads(path.read_text())
    del content[manifest.SEAL]
    without(content["state"], missing)
    path.write_text(json.dumps(content | {manifest.SEAL: manifest._seal(content)}))
    with pytest.raises(Damaged, match=r"does not hold what this version of dbmpi wrote: state"):
        manifest.read(path.parent)


@pytest.mark.parametrize(
    ("name", "value"),
    [("part", 3), ("index", 9), ("first", 2), ("minibatches", 0), ("part", "a"), ("plan", {"rows": 9})],
)
def test_a_portion_that_its_plan_does_not_have_is_refused(tmp_path, name, value):
    path = made(tmp_path, 1) / MANIFEST
    content = json.loads(path.read_text())
    del content[manifest.SEAL]
    content["state"]["downpour"]["ledger"]["outstanding"][0][name] = value
    path.write_text(json.dumps(content | {manifest.SEAL: manifest._seal(content)}))
    with pytest.raises(Damaged, match=r"does not hold what this version of dbmpi wrote: state"):
        manifest.read(path.parent)


def without(content, name):
    """Remove a name at whatever depth it stands."""
    content.pop(name, None)
    for value in content.values():
        if isinstance(value, dict):
            without(value, name)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff\xfe", b'{"sha256": 3}', b"[" * 100_000])
def test_a_manifest_that_is_none_is_refused(tmp_path, content):
    path = made(tmp_path, 1) / MANIFEST
    path.write_bytes(content)
    assert found(tmp_path) == ["000001/manifest.json"]


def test_the_newest_and_the_best_are_kept(tmp_path):
    for number, score in enumerate([0.5, 0.9, 0.7, None, 0.8], 1):
        made(tmp_path, number, score)
    assert manifest.best_of(tmp_path) == (0.9, 2)
    prune(tmp_path, 2, 2)
    assert found(tmp_path) == [5, 4, 2]
    prune(tmp_path, 1, None)
    assert found(tmp_path) == [5]


def test_a_damaged_one_of_the_same_number_is_replaced(tmp_path):
    (made(tmp_path, 1) / INDEX).write_bytes(b"")
    made(tmp_path, 1)
    assert found(tmp_path) == [1]


def test_a_checkpoint_can_be_moved(tmp_path):
    made(tmp_path / "a", 1)
    shutil.move(tmp_path / "a", tmp_path / "b")
    assert found(tmp_path / "b") == [1] and found(tmp_path / "a") == []
