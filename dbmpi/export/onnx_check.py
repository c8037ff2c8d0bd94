"""An ONNX file, looked at by all that is there to read it: ONNX's checker and evaluator, and onnxruntime."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from dbmpi.errors import UserError
from dbmpi.export.check import Sample
from dbmpi.export.interface import INPUT

RUNTIME = "onnxruntime"
LONGEST = 300  # characters of a reason


def look_at(path: Path, sample: Sample, large: bool = False) -> list[str]:
    """Let everybody check a file and compute what `sample` has; return who did. Local.

    Where onnxruntime is, ONNX's evaluator, which holds parameters four times, is not asked of a `large` one.

    Raises
    ------
    UserError
        Somebody refuses it, or computes something else.
    """
    runtime = find_spec(RUNTIME) is not None
    who = f"onnx {onnx.__version__}"
    with _refusing(who):
        onnx.checker.check_model(str(path), full_check=True)
    done = ["onnx.checker"]
    if not (large and runtime):
        with _refusing(who):
            found = _evaluate(path, sample)
        done.append(sample.compare(found, "onnx.reference"))
    if runtime:
        who = f"{RUNTIME} {version(RUNTIME)}"
        with _refusing(who):
            found = _run(path, sample)
        done.append(sample.compare(found, who))
    return done


@contextmanager
def _refusing(who: str) -> Iterator[None]:
    """Turn whatever a library raises into one message; each part of it has types of its own."""
    try:
        yield
    except Exception as problem:
        reason = " ".join(str(problem).split())[:LONGEST] or type(problem).__name__
        raise UserError(
            f"{who} cannot run the file, which is not written: {reason}; try another version of it"
        ) from problem


def _evaluate(path: Path, sample: Sample) -> dict[str, Any]:
    names = list(sample.said)
    with np.errstate(all="ignore"):  # its sigmoid overflows, and is right
        found = ReferenceEvaluator(str(path)).run(names, {INPUT: sample.rows})
    return dict(zip(names, found, strict=True))


def _run(path: Path, sample: Sample) -> dict[str, Any]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = list(sample.said)
    return dict(zip(names, session.run(names, {INPUT: sample.rows}), strict=True))
