"""Whether a written module of PyTorch computes what the model does."""

from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dbmpi.arrays import Array
from dbmpi.errors import UserError
from dbmpi.export.check import Sample
from dbmpi.export.interface import LOGITS


def possible() -> bool:
    """Return whether PyTorch is installed."""
    return find_spec("torch") is not None


def look_at(text: str, weights: Path, sample: Sample) -> list[str]:
    """Run the module of a text on the examples of a sample; return who did. Local.

    Raises
    ------
    UserError
        It cannot be run, or computes something else.
    """
    who = f"torch {version('torch')}"
    try:
        found = run(text, weights, sample.rows, list(sample.said))
    except Exception as problem:  # of whatever type PyTorch has for it
        reason = " ".join(str(problem).split())[:300] or type(problem).__name__
        raise UserError(f"{who} cannot run the module, and nothing is written: {reason}") from problem
    return [sample.compare(found, who)]


def run(text: str, weights: Path, rows: Array, names: list[str]) -> dict[str, Any]:
    """Return what the network of a module computes, by the names that ONNX has for it."""
    import torch

    module: dict[str, Any] = {"__file__": str(weights), "__name__": "network"}
    exec(compile(text, "network.py", "exec"), module)
    network, x = module["load"](weights), torch.from_numpy(rows)
    with torch.no_grad():
        return {name: network(x) if name == LOGITS else getattr(network, name)(x) for name in names}
