"""Trainings on the spoken digits: by dbmpi and by PyTorch, of the network of examples/speech.toml."""

import json
import sys
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py

from dbmpi.model.tensors import tensors
from dbmpi.run.roles import shard_rank
from scripts import processes
from scripts.bench import runs, spoken, steps
from scripts.bench.core import Options, require
from scripts.launcher import ROOT
from scripts.training_runs import train
from scripts.ways import LBFGS

EXAMPLE = ROOT / "examples" / "speech.toml"
PROGRAM = (*runs.PROGRAM, str(EXAMPLE))
INPUTS, LIMIT_S = 440, 600
BATCH = [*LBFGS, "train.epochs=none", "sandblaster.gradient_tolerance=0", "sandblaster.decrease_tolerance=0"]


@dataclass(frozen=True)
class Trained:
    """What a training has come to: frames that are right, (recordings,), the summary, the configuration."""

    right: Any
    summary: Mapping[str, Any]
    config: Mapping[str, Any]


def downpour(options: Options, settings: Sequence[str], replicas: int, seed: int) -> Trained:
    """Train by Downpour with so many replicas and a shard, 0 for one process."""
    asked = [*common(options, seed), *settings, f"cluster.replicas={replicas or 1}"]
    with tempfile.TemporaryDirectory(dir=options.folder) as run_dir:
        folder = Path(run_dir)
        summary = train(replicas + 2 if replicas else 1, folder, asked, LIMIT_S, program=PROGRAM)
        config = tomllib.loads((folder / "config.toml").read_text())
        return Trained(spoken.right(options, folder / "model.h5"), summary, config)


def iterations(
    options: Options, shards: int, replicas: int, partitions: int, number: int
) -> list[dict[str, Any]]:
    """Train by L-BFGS, in one process where all counts are 1; return the records of so many iterations."""
    asked = [*common(options, options.seed), *BATCH, f"sandblaster.iterations={number}"]
    asked += [f"cluster.shards={shards}", f"cluster.replicas={replicas}", f"cluster.partitions={partitions}"]
    workers = shards + replicas * partitions
    with tempfile.TemporaryDirectory(dir=options.folder) as run_dir:
        train(1 if workers == 2 else 1 + workers, Path(run_dir), asked, LIMIT_S, program=PROGRAM)
        lines = [json.loads(line) for line in (Path(run_dir) / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == "iteration"]


def common(options: Options, seed: int) -> list[str]:
    """Return the settings of all runs."""
    return [f"data.path={json.dumps(str(spoken.data(options)))}", *runs.QUIET, f"train.seed={seed}"]


def as_by_dbmpi(options: Options, done: Trained, seed: int) -> Trained:
    """Train by PyTorch as a serial run of dbmpi was trained."""
    settings, own = done.config["downpour"], done.config["train"]
    with h5py.File(spoken.data(options)) as file:
        warmup = settings["schedule"]["warmup_epochs"] * len(file["train/y"])
    out = options.folder / "torch.h5"
    way = {"rule": settings["rule"], "rate": settings["learning_rate"], "warmup": warmup, "seed": seed}
    way |= {"minibatch": own["minibatch"], "epochs": round(own["epochs"]), "out": str(out)}
    found = pytorch(options, seed, way)
    return Trained(spoken.right(options, out), found, {})


def pytorch(options: Options, seed: int, way: Mapping[str, Any]) -> Any:
    """Train by PyTorch from dbmpi's first parameters; return what `torch_spoken.py` prints."""
    require("torch")
    start = options.folder / f"start-{seed}.h5"
    write_start(start, seed)
    asked = {"data": str(spoken.data(options)), "start": str(start), "threads": 2, **way}
    script = ROOT / "scripts" / "bench" / "torch_spoken.py"
    done = processes.run([sys.executable, script, json.dumps(asked)], timeout_s=LIMIT_S)
    if done.status != 0:
        raise RuntimeError(str(done))
    return json.loads(done.out.splitlines()[-1])


def write_start(path: Path, seed: int) -> None:
    """Write the first parameters of a run of this seed, under their names."""
    run = steps.context(EXAMPLE, [f"train.seed={seed}"], (INPUTS,))
    first = tensors(run.partitioning, 0, shard_rank.shard(run, 0)[1])
    with h5py.File(path, "w") as file:
        for number, (weight, bias) in enumerate(zip(first.weights, first.biases, strict=True)):
            file[f"layers.{number}.weight"], file[f"layers.{number}.bias"] = weight, bias
