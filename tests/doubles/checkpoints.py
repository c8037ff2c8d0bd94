"""Checkpoints of a few numbers, written as a run writes them, whose every element is different."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dbmpi.checkpoint import index, manifest, shard_file
from dbmpi.checkpoint.directory import (
    INDEX,
    MANIFEST,
    checkpoint_directory,
    construction_directory,
    record_of,
    shard_file_name,
)
from dbmpi.checkpoint.manifest import Manifest
from dbmpi.checkpoint.run_state import DownpourState, RunState, StoppingState
from dbmpi.checkpoint.scheduler_state import SchedulerState
from dbmpi.comm.assignments import Note, PlanNumbers, Portion
from dbmpi.config.layers import Dense
from dbmpi.config.sections import Config, Model
from dbmpi.layout import sharding
from dbmpi.layout.network import Network, build
from dbmpi.layout.partitioning import Partitioning
from dbmpi.layout.placement import tensor_boxes
from dbmpi.layout.sharding import Piece
from dbmpi.output.evaluation_sums import EvaluationSums
from dbmpi.output.totals import LogState, ServiceTotals
from tests.doubles.owner import owner

Tensors = dict[str, np.ndarray]
PARAMETERS, SQUARES = "parameters", "rule.squares"
ROWS = 9
LOG = LogState(1.5, 2.5, 3, 9, 0, 0, 0, 0, EvaluationSums(0.5, 1, 2), ServiceTotals(updates=3))
PLAN, EARLIER = PlanNumbers(ROWS, 1, 2, 1, 2, None), PlanNumbers(ROWS, 1, 3, 1, 2, 4)
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
SMALL = build(Config(model=Model(layers=(Dense(units=3, activation="relu"), Dense(units=2)))), (4,))


def numbered(net: Network, base: int) -> Tensors:
    """Return tensors whose every element is different."""
    tensors = {}
    for tensor in net.tensors:
        tensors[tensor.name] = np.arange(base, base + tensor.size, dtype=np.float32).reshape(tensor.shape)
        base += tensor.size
    return tensors


def elements(plan: Partitioning, piece: Piece, tensors: Tensors) -> np.ndarray:
    """Return a piece, cut from the vector of its partition: independent of `tensor_boxes`."""
    slices = plan.slices[piece.partition]
    cuts = [tensors[s.tensor.name][tuple(slice(*edges) for edges in s.box)].reshape(-1) for s in slices]
    return np.concatenate(cuts)[piece.start : piece.stop]


def save(
    run_dir: Path,
    number: int = 1,
    plan: Partitioning | None = None,
    pieces: Sequence[Piece] = (),
    vectors: dict[str, Tensors] | None = None,
    state: RunState = STATE,
    score: float | None = None,
    rows: int = ROWS,
) -> Path:
    """Write a checkpoint, by default of a small model on two shards; return its directory."""
    plan = plan or Partitioning(SMALL, 1)
    pieces = pieces or sharding.cut(plan.sizes, 2, 7)
    vectors = vectors or {PARAMETERS: numbered(plan.network, 1), SQUARES: numbered(plan.network, 1000)}
    owned = owner(run_dir)
    part = construction_directory(owned, number)
    part.mkdir()
    shards = sorted({piece.shard for piece in pieces})
    files = {
        shard_file_name(shard): _write_shard(part, plan, sharding.of_shard(pieces, shard), vectors, shard)
        for shard in shards
    }
    shapes = {tensor.name: tensor.shape for tensor in plan.network.tensors}
    placed = [(piece, tuple(tensor_boxes(plan, piece))) for piece in pieces]
    files[INDEX] = index.write_index(part, shapes, placed, np.dtype("f4"))
    model = manifest.model_of(plan.network, "float32", rows)
    shape = {"shards": len(shards), "replicas": 1, "partitions": plan.partitions}
    time, algorithm = "2026-01-01T00:00:00", state.algorithm
    said = Manifest(number, time, algorithm, model, shape, files, "", {}, score, state)
    manifest.publish(owned, said)
    return checkpoint_directory(run_dir, number)


def _write_shard(part: Path, plan: Partitioning, mine: Sequence[Piece], vectors: Any, shard: int) -> Any:
    content = {
        name: np.concatenate([elements(plan, piece, values) for piece in mine])
        for name, values in vectors.items()
    }
    content["updates"] = np.array([10 + piece.index for piece in mine])
    return shard_file.write(part / shard_file_name(shard), content)


def seal_again(path: Path, change: Callable[[dict[str, Any]], Any] = lambda content: None) -> None:
    """Let the manifest of a checkpoint say what its files are now, after a change; its checksum is right."""
    content = json.loads((path / MANIFEST).read_text())
    del content[manifest.SEAL]
    for name in content["files"]:
        if (path / name).is_file():
            content["files"][name] = vars(record_of(path / name))
    change(content)
    sealed = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    (path / MANIFEST).write_text(json.dumps(content | {manifest.SEAL: sealed}))
