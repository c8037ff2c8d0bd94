"""The last step of a checkpoint: which ones stay."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from dbmpi.checkpoint import index as index_module
from dbmpi.checkpoint import writer as writer_module
from dbmpi.checkpoint.directory import (
    FileRecord,
    checkpoint_directory,
    checkpoint_numbers,
    construction_directory,
    record_of,
    shard_file_name,
)
from dbmpi.checkpoint.run_state import DownpourState, RunState, StoppingState
from dbmpi.checkpoint.scheduler_state import SchedulerState
from dbmpi.checkpoint.writer import CheckpointWriter
from dbmpi.comm.assignments import PlanNumbers
from dbmpi.config.layers import Dense
from dbmpi.config.records import Checkpoint
from dbmpi.config.sections import Config, Model
from dbmpi.data.portions import PortionPlan
from dbmpi.layout.network import build
from dbmpi.layout.partitioning import Partitioning
from dbmpi.layout.sharding import cut
from dbmpi.output.evaluation_sums import EvaluationSums
from dbmpi.output.totals import LogState, ServiceTotals
from tests.doubles.owner import owner

PLAN = PlanNumbers(**PortionPlan(1, 1, 1, 0).numbers())
LOG = LogState(1.5, 2.5, 3, 9, 0, 0, 0, 0, EvaluationSums(0.5, 1, 2), ServiceTotals())
STATE = RunState(LOG, StoppingState(None, 0), DownpourState(SchedulerState(0, 0, -1, (), (), PLAN), False))


@pytest.fixture
def complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Complete a checkpoint with a score, of a job that keeps one and the best."""

    def index(part: Path, tensors: Any, placed: Any, dtype: Any) -> FileRecord:
        (part / "index.h5").write_bytes(b"nothing")
        return record_of(part / "index.h5")

    monkeypatch.setattr(index_module, "write_index", index)
    config = Config(model=Model(layers=(Dense(units=10),)), checkpoint=Checkpoint(keep=1))
    partitioning, pieces = Partitioning(build(config, (8,)), 1), cut([90], 1, 99)
    owned = owner(tmp_path)
    writer = CheckpointWriter(
        owned, config, partitioning, pieces, 1, {"shards": 1, "replicas": 1, "partitions": 1}
    )

    def made(number: int, score: float) -> list[int]:
        part = construction_directory(owned, number)
        part.mkdir()
        (part / shard_file_name(0)).write_bytes(b"values")
        files = {shard_file_name(0): record_of(part / shard_file_name(0))}
        writer.complete(writer.manifest(number, STATE, score, 1), files, pieces)
        return list(checkpoint_numbers(tmp_path))

    return made


def test_what_cannot_be_removed_does_not_undo_a_checkpoint(
    complete: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(*ignored: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(writer_module, "prune", unreadable)
    assert [complete(n, 0.5) for n in (1, 2)] == [[1], [2, 1]]


def test_the_best_stays_beside_the_newest(complete: Any) -> None:
    assert [complete(n, score) for n, score in ((1, 0.5), (2, 0.9), (3, 0.4))] == [[1], [2], [3, 2]]
    assert complete(4, 0.9) == [4]  # of equal ones the newest counts


def test_when_the_best_has_been_removed_the_next_one_is_protected(complete: Any, tmp_path: Path) -> None:
    for number, score in ((1, 0.9), (2, 0.6)):
        complete(number, score)
    shutil.rmtree(checkpoint_directory(tmp_path, 1))
    assert [complete(n, score) for n, score in ((3, 0.4), (4, 0.5))] == [[3, 2], [4, 2]]
