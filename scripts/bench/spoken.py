"""The spoken digits: their data file, what a model is right about, and how sure that is. In this process.

Frames of one recording are no independent trials: errors are those of means over recordings.
"""

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from dbmpi.prepare.filterbank import FilterBank
from dbmpi.prepare.recordings import by_names, samples
from dbmpi.prepare.source import TEST
from scripts.bench.core import Options, Skipped
from scripts.launcher import ROOT

NAMES, TEST_NAMES = "{label}_{}_{}", "*_[0-4]"
LIMIT_S = 300


def recordings(options: Options) -> Path:
    """Return the folder of --recordings; raise Skipped where none is given."""
    if options.recordings is None:
        raise Skipped("it learns from the free spoken digit data set: --recordings")
    return options.recordings


def data(options: Options, *more: str) -> Path:
    """Return the data file, as docs/prepare.md makes it with `more` options, unless it is there."""
    path = options.folder / f"digits{''.join(more)}.h5"
    if not path.exists():
        names = ["--names", NAMES, "--test-names", TEST_NAMES, "--states", "3"]
        command = [sys.executable, "-m", "dbmpi.prepare", "speech", str(recordings(options)), str(path)]
        subprocess.run(
            [*command, *names, *more], cwd=ROOT, check=True, timeout=LIMIT_S, stdout=subprocess.DEVNULL
        )
    return path


def frames(options: Options) -> Any:
    """Return the frames of each recording to test with, int (recordings,), in the order of their names."""
    tested = [one.path for one in by_names(recordings(options), NAMES, TEST_NAMES) if one.split == TEST]
    return np.array([FilterBank(rate).frames(count) for rate, count in map(samples, tested)])


def right(options: Options, model: Path) -> Any:
    """Return of how many frames of each recording a model knows the state, int (recordings,).

    The model is a `model.h5` of dense layers, sigmoid but for the last one.
    """
    with h5py.File(data(options, "--keep-order")) as file:
        x, labels = file["test/x"][:], file["test/y"][:]
    with h5py.File(model) as file:
        y = x * file.attrs["scale"] + file.attrs["offset"]
        last = len(file) // 2 - 1
        for layer in range(last + 1):
            y = y.astype(np.float32) @ file[f"layers.{layer}.weight"][:].T + file[f"layers.{layer}.bias"][:]
            y = y if layer == last else (1 + np.tanh(y / 2)) / 2  # sigmoid
    firsts = np.cumsum([0, *frames(options)[:-1]])
    return np.add.reduceat((y.argmax(1) == labels).astype(np.int64), firsts)


def standard_error(sums: Any, counts: Any) -> float:
    """Return the standard error of sum(sums) / sum(counts), where recordings are the independent trials.

    Notes
    -----
    Of the ratio r of R recordings, each d of n frames: s^2 = R / (R - 1) sum (d - r n)^2 / (sum n)^2.

    References
    ----------
    W. G. Cochran, Sampling Techniques, 3rd ed., 1977, section 2.11: ratio estimates.
    """
    residuals = sums - sums.sum() / counts.sum() * counts
    return math.sqrt(len(counts) / (len(counts) - 1) * float(residuals @ residuals)) / float(counts.sum())
