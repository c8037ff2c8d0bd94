"""Runs, and what they gave, kept in a folder: so that a comparison can be made in pieces."""

import json
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.bench.machine import FORCED, busy
from scripts.compare.curves import read_run
from scripts.compare.plan import BUSY, Case
from scripts.training_runs import train

STARTED_S = 300.0  # for all of a run but its training: compilation, at its longest
STOPPED = 85  # by train.max_time
DIVERGED = 3  # a status with results: for an optimizer, that it can go no further


class Keep:
    """The folder of a comparison: a file for each run, which holds its settings too.

    Parameters
    ----------
    folder
        It is made when the first run has ended.
    general, rows, seconds
        Settings of all runs, the path of the data among them; training examples; training time of a run.

    Attributes
    ----------
    lasts_s
        How long the longest run so far has taken.
    """

    def __init__(self, folder: Path, general: Sequence[str], rows: int, seconds: float) -> None:
        self._folder, self._general, self._rows, self._seconds = folder, [*general], rows, seconds
        self.lasts_s = seconds

    def has(self, case: Case) -> bool:
        """Whether a run with these very settings is there."""
        path = self._path(case)
        return path.exists() and json.loads(path.read_text())["settings"] == self._settings(case)

    def of(self, case: Case) -> Mapping[str, Any]:
        """Return what a run gave: see `read_run`."""
        found: Mapping[str, Any] = json.loads(self._path(case).read_text())
        return found

    def run(self, case: Case) -> None:
        """Make a run, tell how it ended, and keep what it gave."""
        print(f"{case.name} ...", end=" ", flush=True)
        started = time.monotonic()
        for name in FORCED:  # a kernel of BLAS that is not the machine's own
            os.environ.pop(name, None)
        asked = [*self._settings(case), "output.progress=none", "checkpoint.every_s=0"]
        with tempfile.TemporaryDirectory() as folder, busy(BUSY if case.busy else 0):
            run_dir = Path(folder)
            end = train(case.ranks, run_dir, asked, STARTED_S + 2 * self._seconds, (0, DIVERGED, STOPPED))
            found = {"settings": self._settings(case)} | read_run(run_dir)
        self._folder.mkdir(parents=True, exist_ok=True)
        partial = self._path(case).with_suffix(".partial")
        partial.write_text(json.dumps(found))
        partial.replace(self._path(case))
        self.lasts_s = max(self.lasts_s, time.monotonic() - started)
        print(f"{end['stop_reason']} after {end['train_s']:.1f} s, accuracy {end['test_accuracy']:.2%}")

    def _path(self, case: Case) -> Path:
        return self._folder / f"{case.name}.json"

    def _settings(self, case: Case) -> list[str]:
        return [*self._general, *case.settings(self._rows)]
