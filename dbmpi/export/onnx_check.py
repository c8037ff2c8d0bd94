"""An ONNX file, looked at by all that is there to read it: ONNX's checker and evaluator, and onnxruntime."""

from collections.abc import Mapping
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


def look_at(path: Path, sample: Sample) -> list[str]:
    """Let everybody check a file and compute what `sample` has; return who did. Local.

    Raises
    ------
    UserError
        Somebody refuses it, or computes something else.
    """
    names, rows = list(sample.said), {INPUT: sample.rows}
    try:
        onnx.checker.check_model(str(path), full_check=True)
        with np.errstate(all="ignore"):  # its sigmoid overflows, and is right
            found = ReferenceEvaluator(str(path)).run(names, rows)
    except Exception as problem:  # of whatever type each part of it has
        raise _refused(f"onnx {onnx.__version__}", problem) from problem
    done = ["onnx.checker", sample.compare(dict(zip(names, found, strict=True)), "onnx.reference")]
    if find_spec(RUNTIME) is None:
        return done
    who = f"{RUNTIME} {version(RUNTIME)}"
    try:
        found = _run(path, names, rows)
    except Exception as problem:
        raise _refused(who, problem) from problem
    return [*done, sample.compare(dict(zip(names, found, strict=True)), who)]


def _run(path: Path, names: list[str], rows: Mapping[str, Any]) -> list[Any]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return list(session.run(names, rows))


def _refused(who: str, problem: Exception) -> UserError:
    reason = " ".join(str(problem).split())[:300] or type(problem).__name__
    return UserError(f"{who} cannot run the file, which is not written: {reason}; try another version of it")
