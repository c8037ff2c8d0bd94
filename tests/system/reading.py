"""Read what a run printed and wrote, for the tests of whole programs."""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from dbmpi.output.schema import SUMMARY
from scripts import processes
from tests.doubles.record_fields import wrong, wrong_records

QUIET = ("--set", "output.progress=none")


def messages(done: processes.Finished) -> list[str]:
    """Return the error messages of dbmpi (not of the launcher), from both streams: their first lines."""
    lines = (done.out + "\n" + done.err).splitlines()
    return [line for line in lines if line.startswith(("dbmpi: error", "dbmpi: rank", "dbmpi: interrupted"))]


def one_message(done: processes.Finished, *words: str, traceback: bool = False) -> str:
    """Assert that there is one message, that it has the words, and whether a traceback follows it."""
    found = messages(done)
    assert len(found) == 1, found
    for word in words:
        assert word in done.err, word
    assert ("Traceback" in done.out + done.err) is traceback
    assert done.err.count("Traceback") <= 1
    return found[0]


def summary(run: Path) -> dict[str, Any]:
    """Return summary.json; its fields must be those of the table."""
    content: dict[str, Any] = json.loads((run / "summary.json").read_text())
    assert list(wrong(content, SUMMARY, content.get("schema", 1))) == []
    return content


def records(run: Path, kind: str | None = None) -> list[dict[str, Any]]:
    """Return the records of metrics.jsonl, of one kind; the fields of all must be those of the tables."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert wrong_records(lines) == []
    return [line for line in lines if kind in (None, line["kind"])]


def parameters(run: Path) -> dict[str, np.ndarray]:
    """Return every data set of model.h5, by name."""
    found: dict[str, np.ndarray] = {}

    def take(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = item[...]

    with h5py.File(run / "model.h5") as file:
        file.visititems(take)
    return found


ACTIVATIONS = {
    "identity": lambda z: z,
    "relu": lambda z: np.maximum(z, 0),
    "tanh": np.tanh,
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
}


def outputs(run: Path, x: np.ndarray, activations: list[str]) -> np.ndarray:
    """Return the outputs (N, units) of the saved model on inputs (N, I), in float64."""
    held = parameters(run)
    y = x.astype(np.float64)
    for layer, activation in enumerate(activations):
        z = y @ held[f"layers.{layer}.weight"].T.astype(np.float64) + held[f"layers.{layer}.bias"]
        y = ACTIVATIONS[activation](z)
    return y


def split(path: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs (N, I) as values, and labels or targets, of a data file's split."""
    with h5py.File(path) as file:
        x, y = file[name]["x"], file[name]["y"]
        scale = x.attrs.get("scale", 1 / 255 if x.dtype == np.uint8 else 1.0)
        values = x[...].reshape(len(x), -1) * scale + x.attrs.get("offset", 0.0)
        return values, y[...]
