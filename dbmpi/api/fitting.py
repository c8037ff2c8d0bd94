"""One fit: the arrays into a data file, a run on it, and what comes of that."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

from dbmpi.api import data_file, here, ranks, shown
from dbmpi.api.data_file import WEIGHTS, Examples
from dbmpi.api.directory import RunDirectory
from dbmpi.api.mistakes import value_errors
from dbmpi.api.model import Model, load
from dbmpi.api.running import Ended, Running, follow
from dbmpi.api.settings import words
from dbmpi.api.threads import limited
from dbmpi.errors import STATUS_DIVERGED, STATUS_OK, STATUS_STOPPED, STATUS_USER_ERROR
from dbmpi.output.run_directory import SUMMARY
from dbmpi.run.start import cli

DATA = "data.h5"


@dataclass(frozen=True)
class Way:
    """How a fit runs.

    Attributes
    ----------
    ranks, launcher
        As `ranks.command`; None or 1 rank for the user's process.
    threads
        As `threads.limited`; of several ranks, `cluster.threads`.
    run_dir
        As `RunDirectory`.
    verbose
        Whether progress is shown.
    """

    ranks: int | None
    launcher: str | None
    threads: int | None
    run_dir: Any
    verbose: bool


@dataclass(frozen=True)
class Fitted:
    """What comes of a fit.

    Attributes
    ----------
    model
        None where it was interrupted before anything was learned.
    directory
        Where the run is.
    iterations
        Passes over the training set, begun ones too; of a batch method its iterations.
    loss
        The last one of the training set, without the penalty; NaN where it was not measured.
    interrupted
        Whether the user has stopped it.
    """

    model: Model | None
    directory: RunDirectory
    iterations: int
    loss: float
    interrupted: bool


def fit(examples: Examples, keys: dict[str, Any], seed: int, way: Way) -> Fitted:
    """Train.

    Parameters
    ----------
    keys
        Of the configuration, by dotted name, but for those of the data file.
    seed
        Of the order of the rows in the file.

    Raises
    ------
    ValueError
        A key, or the data, is not as it should be.
    RuntimeError
        The run has diverged, or failed.
    """
    launcher = None if way.ranks in (None, 1) else ranks.command(way.ranks, way.launcher)
    directory = RunDirectory(way.run_dir)
    path = directory.path / DATA
    try:
        data_file.write(path, examples, seed)
        keys = {**keys, "data.path": str(path)}
        if examples.weights is not None:
            keys["data.weights"] = WEIGHTS
        ended = _run(keys, directory.path, way, launcher)
        _check(ended)
        return _result(ended, directory, len(examples.inputs))
    finally:
        if directory.temporary:
            path.unlink(missing_ok=True)


def _run(keys: dict[str, Any], directory: Path, way: Way, launcher: Sequence[str] | None) -> Ended:
    """Train in this process, or on the ranks that a launcher starts; return how that ended."""
    screen = shown.make(way.verbose)
    with value_errors():
        if launcher is not None:
            if way.threads is not None:
                keys = {"cluster.threads": way.threads, **keys}
            more = ["--run-dir", str(directory), "--set", *words(keys)]
            return follow(ranks.Ranks(launcher, more), screen)
        with limited(way.threads):
            running: Running = here.Here(cli.Arguments(overrides=words(keys), run_dir=directory))
            return follow(running, screen)


def _check(ended: Ended) -> None:
    """Raise what a run has failed by."""
    if ended.status in (STATUS_OK, STATUS_STOPPED) or ended.interrupted:
        return
    text = "; ".join(ended.errors) or "\n".join(ended.last) or f"the run has ended with status {ended.status}"
    if ended.status == STATUS_USER_ERROR:
        raise ValueError(text.replace("--set ", ""))  # which is how a command line names a key
    raise RuntimeError(f"the run has diverged: {text}" if ended.status == STATUS_DIVERGED else text)


def _result(ended: Ended, directory: RunDirectory, rows: int) -> Fitted:
    """Read what a run has left."""
    said: dict[str, Any] = {}
    try:
        said = json.loads((directory.path / SUMMARY).read_text())
        model = load(directory.path)
    except (OSError, ValueError) as error:
        if not ended.interrupted:
            last = "\n".join(ended.last)
            raise RuntimeError(f"the run has left no model: {error}; it has said last: {last}") from error
        model = None
    done = said.get("iterations") or ceil(said.get("examples", 0) / rows)
    loss = said.get("test_loss")
    return Fitted(model, directory, max(1, done), float("nan") if loss is None else loss, ended.interrupted)
