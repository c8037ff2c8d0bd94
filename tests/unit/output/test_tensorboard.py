"""Records as TensorBoard's files: what is in them, and that nothing which fails ends a run."""

import math
from pathlib import Path

import pytest

from dbmpi.output.tensorboard import TensorBoard, file_name, scalars_of
from tests.doubles.event_files import events, scalars

tensorboardX = pytest.importorskip("tensorboardX", reason="tensorboardX is not installed")
TRAIN = {"kind": "train", "time_s": 1.0, "step": 20, "examples": 320, "loss": 0.5, "accuracy": None}


def test_every_number_is_a_scalar_at_its_minibatch(tmp_path):
    board = TensorBoard(tmp_path / "file", print)
    board({"kind": "job", "time_s": 0.0, "step": 10, "examples": 160, "began": True, "partitions": 2})
    board({**TRAIN, "waits": {"fetch": 0.25, "data": 0.0}})
    board({"kind": "event", "time_s": 1.0, "step": 20, "examples": 320, "text": "a"})
    board.close()
    head, start, train = events(tmp_path / "file")
    assert head.file_version == "brain.Event:2"
    assert (start.step, start.session_log.status) == (10, 1)  # START: what came later is done again
    assert train.step == 20
    assert scalars(train) == {"train/loss": 0.5, "train waits/fetch": 0.25, "train waits/data": 0.0}


def test_shards_and_splits_have_places_of_their_own():
    common = {"time_s": 1.0, "step": 20, "examples": 320}
    shard = {"kind": "shard", **common, "shard": 3, "updates": 7, "staleness_histogram": [1, 2]}
    assert dict(scalars_of(shard)) == {"shard 3/updates": 7.0}
    found = {"kind": "eval", **common, "split": "validation", "loss": 1.0, "final": True}
    assert dict(scalars_of(found)) == {"validation/loss": 1.0}


def test_what_fails_is_told_once_and_raises_nothing(tmp_path):
    told: list[str] = []
    board = TensorBoard(tmp_path / "file", told.append)
    for _ in range(3):
        board({**TRAIN, "loss": 10**400})
    board.close()
    assert len(told) == 1 and "OverflowError" in told[0]


def test_a_disk_that_is_full_is_told_once_and_raises_nothing(tmp_path):
    told: list[str] = []
    board = TensorBoard(Path("/dev/full"), told.append)
    for _ in range(100):
        board(TRAIN)
    board.close()
    assert [text.partition(":")[0] for text in told][:1] == ["/dev/full cannot be written"]
    assert not any("Traceback" in text for text in told) and len(told) == 2


def test_names_are_as_tensorboard_looks_for_them_and_differ_by_job():
    assert file_name(12.7, "node", 1) == "events.out.tfevents.12.node.1" != file_name(12.7, "node", 2)
    assert math.isfinite(float(file_name(12.7, "node", 1).split(".")[3]))
