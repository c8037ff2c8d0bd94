"""A first run: two lines, `[data]` and `path`, learn from data of each kind, none of them scaled."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.system.conftest import Launch
from tests.system.reading import messages, summary

pytestmark = pytest.mark.beside

RNG = np.random.default_rng(6)
ROWS = 800
SIZES = np.array([1, 1e3, 0.01, 50, 1, 1e-3])
Z = RNG.normal(size=(ROWS, 6))
X = Z * SIZES + 3 * SIZES
SUM = Z @ RNG.normal(size=(6, 3))
GREY = RNG.random((ROWS, 6, 6))
GREY[:, :3] += (np.arange(ROWS) % 2)[:, None, None]
WIDE = RNG.normal(size=(ROWS, 600)) * 20
WIDE[:, :30] += 20 * (SUM[:, :1] > 0)

KINDS: dict[str, tuple[Any, Any, str, float]] = {  # inputs, targets, the figure, and more than this
    "two classes": (X, SUM[:, 0] > 0, "accuracy", 0.9),
    "several classes": (X, np.digitize(SUM[:, 0], [-2, 0, 2]), "accuracy", 0.8),
    "several labels": (X, SUM > 0, "macro_f1", 0.85),
    "an amount": (X, 1e5 + 1e4 * SUM[:, 0], "r2", 0.9),
    "small amounts": (X, 1e-3 * SUM, "r2", 0.9),
    "a rare class": (X, (SUM[:, 0] > np.quantile(SUM[:, 0], 0.95)).astype(int), "balanced_accuracy", 0.75),
    "many columns": (WIDE, (SUM[:, 0] > 0).astype(int), "accuracy", 0.9),
    "images of floats": (255 * GREY, np.arange(ROWS) % 2, "accuracy", 0.95),
    "images of dim bytes": ((10 * GREY).astype("u1"), np.arange(ROWS) % 2, "accuracy", 0.95),
    "amounts of images": ((100 * GREY).astype("u1"), 1e3 * GREY.mean(axis=(1, 2)), "r2", 0.9),
    "bytes": ((9 * (Z - Z.min())).astype("u1"), np.digitize(SUM[:, 0], [-2, 0, 2]), "accuracy", 0.8),
}


@pytest.mark.parametrize("kind", KINDS)
def test_two_lines_learn(launch: Launch, tmp_path: Path, kind: str) -> None:
    x, y, figure, least = KINDS[kind]
    with h5py.File(tmp_path / "own.h5", "w") as file:
        for name, rows in (("train", slice(200, None)), ("test", slice(200))):
            file[f"{name}/x"], file[f"{name}/y"] = x[rows], y[rows]
    (tmp_path / "run.toml").write_text('[data]\npath = "own.h5"\n')
    done = launch(0, "run.toml", "--run-dir", "run")
    assert done.status == 0 and messages(done) == [] and "warning" not in done.out + done.err
    assert summary(tmp_path / "run")[f"test_{figure}"] > least
