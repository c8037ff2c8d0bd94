"""Checkpoints while a shard dies: one that it had not written is given up, and its directory goes."""

import time
from pathlib import Path
from typing import Any

import pytest

from dbmpi.checkpoint import manifest
from dbmpi.checkpoint.directory import FileRecord, Written, under_construction
from dbmpi.checkpoint.run_state import DownpourState
from dbmpi.checkpoint.scheduler_state import SchedulerState
from dbmpi.checkpoint.writer import CheckpointWriter
from dbmpi.comm.assignments import PlanNumbers
from dbmpi.config.layers import Dense
from dbmpi.config.records import Checkpoint
from dbmpi.config.sections import Config, Model
from dbmpi.coordinator.checkpoint_manager import WHAT_THEN, CheckpointManager
from dbmpi.layout.network import build
from dbmpi.layout.partitioning import Partitioning
from dbmpi.layout.sharding import Owners, cut
from tests.doubles.owner import owner

STATE = DownpourState(SchedulerState(0, 0, -1, (), (), PlanNumbers(9, 2, 1, 1, 1, None)), False)


class Shards:
    """Three shards that copy; the test says who writes, and who dies."""

    mirrors = None

    def __init__(self) -> None:
        self.owners = Owners(3)
        self.taken: list[int] = []
        self.deaths: list[int] = []  # while the next checkpoint is being copied

    def snapshot(self, number: int, vectors: Any, written: Any) -> None:
        """See `cluster.Shards`."""
        self.taken.append(number)
        self.written = lambda shard: written(Written(number, shard, FileRecord(1, "0")))
        for dead in self.deaths:
            self.owners.mark_dead(dead)
        self.deaths.clear()

    def wait_until(self, done: Any) -> None:
        """See `cluster.Shards`."""
        self.write()
        while not done():
            pass

    def write(self) -> None:
        for shard in list(self.owners.living):
            self.written(shard)


class Anything:
    """A metrics log, or why a run ends."""

    lost, examples, elapsed_s, last_evaluation, reason = False, 0, 0.0, None, ""

    def __init__(self) -> None:
        self.events: list[str] = []

    def state(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def event(self, text: str, about: str = "") -> None:
        """See `metrics.MetricsLog`."""
        self.events.append(text)

    say = event

    def record(self, kind: str, **values: Any) -> None:
        """See `metrics.MetricsLog`."""
        self.events.append(kind)


@pytest.fixture
def checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CheckpointManager:
    """A manager whose manifests and indexes are nothing."""
    from dbmpi.checkpoint import index as index_module

    indexed: list[Any] = []

    def index(part: Path, tensors: Any, placed: Any, dtype: Any) -> FileRecord:
        indexed.append({piece.shard for piece, _ in placed})
        return FileRecord(1, "0")

    monkeypatch.setattr(index_module, "write_index", index)
    monkeypatch.setattr(manifest, "publish", lambda owned, content: None)
    config = Config(model=Model(layers=(Dense(units=10),)))
    partitioning = Partitioning(build(config, (8,)), 1)
    writer = CheckpointWriter(owner(tmp_path), config, partitioning, cut([90], 3, 99), 1, {"shards": 3})
    log: Any = Anything()
    made = CheckpointManager(writer, Shards(), log, log, 0, lambda: None)
    made.start()
    made.indexed, made.log = indexed, log.events  # type: ignore[attr-defined]
    return made


def parts(path: Path) -> list[str]:
    return sorted(each.name for each in under_construction(path))


def test_a_checkpoint_that_a_dead_shard_has_not_written_is_given_up(checkpoints: Any, tmp_path: Path) -> None:
    checkpoints.save(STATE)
    shards = checkpoints._shards
    shards.written(1)
    shards.owners.mark_dead(0)
    checkpoints.poll()
    assert parts(tmp_path) == ["000001.part"]  # shard 2 is still writing into it
    shards.written(2)
    checkpoints.poll()
    assert parts(tmp_path) == [] and "given up" in checkpoints.log[0]
    checkpoints.save(STATE)
    checkpoints.finish()
    assert shards.taken == [1, 2] and checkpoints.log[1:] == ["checkpoint"]
    assert checkpoints.indexed == [{1, 2}]  # the successor's file has the pieces of the dead one


def test_one_that_the_dead_shard_has_written_is_completed(checkpoints: Any) -> None:
    checkpoints.save(STATE)
    checkpoints._shards.written(0)
    checkpoints._shards.owners.mark_dead(0)
    checkpoints.finish()
    assert checkpoints._shards.taken == [1] and checkpoints.log == ["checkpoint"]
    assert checkpoints.indexed == [{0, 1, 2}]  # as they were when it was taken


def test_the_last_one_is_taken_again(checkpoints: Any, tmp_path: Path) -> None:
    checkpoints._shards.deaths = [2]
    checkpoints.save(STATE)
    checkpoints.finish()
    assert checkpoints._shards.taken == [1, 2] and checkpoints.log[1:] == ["checkpoint"]
    assert checkpoints.indexed == [{0, 1}] and parts(tmp_path) == ["000002.part"]  # nothing publishes it here


def test_what_was_written_of_another_one_counts_for_nothing(checkpoints: Any) -> None:
    checkpoints.save(STATE)
    late = checkpoints._shards.written
    checkpoints._shards.owners.mark_dead(0)
    checkpoints._shards.write()
    checkpoints.poll()
    checkpoints.save(STATE)
    late(0)
    late(1)
    assert checkpoints._pending._missing == {1, 2} and not checkpoints._pending._files


def test_one_that_is_late_is_a_warning_and_is_taken_all_the_same(checkpoints: Any) -> None:
    checkpoints._writer.settings = Checkpoint(timeout_s=0.001)
    checkpoints.save(STATE)
    time.sleep(0.002)
    for _ in range(3):
        checkpoints.poll()
    assert [text for text in checkpoints.log if "not on disk after" in text] == checkpoints.log[:1]
    checkpoints.finish()
    assert checkpoints.log[1:] == ["checkpoint"] and checkpoints.last == 1 and not checkpoints.problem


def test_one_that_a_shard_cannot_write_is_a_warning_and_goes(checkpoints: Any, tmp_path: Path) -> None:
    for number in (1, 2):
        checkpoints.save(STATE)
        pending = checkpoints._pending
        for shard in range(3):
            failed = Written(number, 0, None, "a full disk")
            checkpoints._shards.written(shard) if shard else pending.written(failed)
        checkpoints.finish()
    assert checkpoints.problem == "a full disk" and checkpoints.last == 0 and parts(tmp_path) == []
    assert [text for text in checkpoints.log if "warning" in text] == [
        f"warning: checkpoint 1 could not be taken: a full disk; training goes on, and {WHAT_THEN}",
        "warning: checkpoint 2 could not be taken: a full disk",
    ]
    checkpoints.save(STATE)
    checkpoints.finish()
    assert (checkpoints.problem, checkpoints.last) == ("", 3)


def test_how_long_one_may_take(tmp_path: Path) -> None:
    config = Config(model=Model(layers=(Dense(units=10),)))
    plan, pieces = Partitioning(build(config, (8,)), 1), cut([10**7], 1, 10**8)
    writer = CheckpointWriter(owner(tmp_path), config, plan, pieces, 1, {"shards": 1})
    assert writer.timeout_s(0) == 60 + 4 * 4  # parameters, an average and two vectors of a rule, at 10 MB/s
    assert writer.timeout_s(9) == 60 + 10 * 4
