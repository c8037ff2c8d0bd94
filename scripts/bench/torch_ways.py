"""Trainings with PyTorch, as turns: which there are, and what a run of `torch_run.py` says of them."""

import json
import sys
from collections.abc import Sequence
from typing import Any

from scripts import processes
from scripts.bench.core import require
from scripts.launcher import ROOT

KINDS = {"PyTorch, 2 threads": (2, 1), "PyTorch DDP gloo, 2 processes": (1, 2)}  # threads, ranks
RATES = {"momentum": (0.3, 0.1, 0.03), "adagrad": (0.04, 0.02, 0.01), "adam": (0.003, 0.001, 0.0005)}
LIMIT_S = 400
Way = tuple[str, float]  # a rule and its rate


def train(data: str, kind: tuple[int, int], ways: Sequence[Way], seed: int, **more: Any) -> list[Any]:
    """Train in several ways, in one process after another start; return what each has found.

    Raises
    ------
    Skipped
        PyTorch is not installed.
    RuntimeError
        A training has failed.
    """
    require("torch")
    asked = {"data": data, "threads": kind[0], "ranks": kind[1], "ways": ways, "seed": seed, **more}
    script = ROOT / "scripts" / "bench" / "torch_run.py"
    done = processes.run([sys.executable, script, json.dumps(asked)], timeout_s=LIMIT_S)
    if done.status != 0:
        raise RuntimeError(str(done))
    found: list[Any] = json.loads(done.out.splitlines()[-1])
    return found


def examples_to(found: Any, target: float) -> float:
    """Return the examples to an accuracy; infinity where it was not reached."""
    return next((float(n) for n, _, accuracy in found["curve"] if accuracy >= target), float("inf"))
