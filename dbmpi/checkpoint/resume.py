"""From which checkpoint a run goes on: the newest of its run directory that is whole and fits."""

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from dbmpi.checkpoint import manifest, old_portions
from dbmpi.checkpoint.directory import MANIFEST, checkpoint_directory, checkpoint_numbers
from dbmpi.checkpoint.manifest import Checkpoint
from dbmpi.checkpoint.whole_file import Damaged
from dbmpi.errors import UserError
from dbmpi.output import run_directory
from dbmpi.ownership.record import generations


def whole(run_dir: Path) -> Iterator[Checkpoint | Damaged]:
    """Yield the checkpoints of a run, verified, the newest first; in place of one that is damaged, why."""
    for number in checkpoint_numbers(run_dir):
        from dbmpi.checkpoint.contents import verify  # HDF5: only where there is something to read

        try:
            found = manifest.read(checkpoint_directory(run_dir, number))
            verify(found)
        except Damaged as problem:
            yield problem
        else:
            yield found


def last_whole(run_dir: Path) -> Checkpoint | None:
    """Return the newest checkpoint that is whole, verified; None if there is none."""
    return next((found for found in whole(run_dir) if isinstance(found, Checkpoint)), None)


def find(
    run_dir: Path, model: Callable[[Checkpoint], dict[str, Any]], wanted: bool
) -> tuple[Checkpoint | None, list[str]]:
    """Return the checkpoint to go on from, None to begin anew, and warnings about those that cannot be used.

    Parameters
    ----------
    run_dir
        An existing directory.
    model
        `manifest.model_of` this run, if it went on from a checkpoint: what is "auto" is as it was there.
    wanted
        Whether the user insists on going on (--resume).

    Raises
    ------
    UserError
        There is no checkpoint to go on from, but a run that would be lost if another began here; or the
        user insists.
    """
    refused: list[str] = []
    for found in whole(run_dir):
        problem = str(found) if isinstance(found, Damaged) else misfit(found, model(found))
        if not problem and isinstance(found, Checkpoint):
            return old_portions.with_plans(found, run_dir), refused
        refused.append(f"checkpoint {problem}: it is not used")
    if refused:
        raise UserError(
            f"run directory {run_dir} has no checkpoint that this run can go on from:\n  "
            + "\n  ".join(refused)
            + "\ngive another with --run-dir, or what the run was begun with"
        )
    _check_new(run_dir, wanted)
    return None, []


def _check_new(run_dir: Path, wanted: bool) -> None:
    """Refuse to begin where the user wants to go on, or where a run has ended."""
    if wanted:
        raise UserError(
            f"--resume: run directory {run_dir} has no checkpoint; leave --resume out to begin there"
        )
    for name in (run_directory.SUMMARY, run_directory.MODEL):
        if _exists(run_dir / name):
            raise UserError(
                f"run directory {run_dir} holds a run already ({name}), and no checkpoint of it to go on "
                "from: give another with --run-dir"
            )


def _exists(path: Path) -> bool:
    """Return whether there is a file of a run. Raises UserError where that cannot be seen."""
    try:
        return path.exists()
    except OSError as error:
        raise UserError(
            f"{path}: {error.strerror}; begin again when it can be read, or give another --run-dir"
        ) from None


def misfit(found: Checkpoint, model: dict[str, Any]) -> str:
    """Say in what the model of a checkpoint differs from that of the run; nothing if it fits."""
    number, theirs = found.path.name, found.manifest.model
    there, here = theirs.get("made", {}), model.get("made", {})
    for key, what in (("labels", "the labels of the classes"), ("cut", "the rows cut from the training set")):
        if there.get(key) != here.get(key):
            return f"{number} is of another run: {what} are others there (the data file, or the section data)"
    for key, what in (("dtype", "model.dtype"), ("rows", "the number of training examples")):
        if theirs.get(key) != model[key]:
            return f"{number} is of another run: {what} is {theirs.get(key)} there and {model[key]} here"
    there, here = theirs.get("tensors", {}), model["tensors"]
    for name in {**there, **here}:
        if there.get(name) != here.get(name):
            shapes = f"{_shape(there, name)} there and {_shape(here, name)} here"
            return f"{number} is of another model: {name} is {shapes}"
    return ""


def _shape(tensors: dict[str, list[int]], name: str) -> str:
    return f"({', '.join(map(str, tensors[name]))})" if name in tensors else "absent"


def looks_like_a_run(run_dir: Path) -> bool:
    """Return whether a directory is one that a run has made, of whatever version. Raises UserError."""
    if generations(run_dir) or _described(run_dir / run_directory.RUN):
        return True
    saved = (checkpoint_directory(run_dir, number) for number in checkpoint_numbers(run_dir))
    return any((path / MANIFEST).is_file() for path in saved)


def _described(path: Path) -> bool:
    """Return whether a file is the run.json of a run."""
    try:
        said = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(said, dict) and {"equation", "versions", "ranks"} <= set(said)


def newest(runs: Path, name: str, fits: Callable[[Path], bool]) -> Path:
    """Return the newest run directory of a name, of those that have checkpoints.

    Parameters
    ----------
    runs
        Where run directories are made, as NAME-DATE-TIME, or with a number after that.
    name
        The name, which is taken as it is.
    fits
        Whether a directory is of the same configuration.

    Raises
    ------
    UserError
        There is none.
    """
    form = re.compile(re.escape(name) + r"-(\d{8}-\d{6})(?:-(\d+))?", re.ASCII)
    try:
        named = [match for match in map(form.fullmatch, os.listdir(runs)) if match]
    except OSError:
        named = []
    for match in sorted(named, key=lambda match: (match[1], int(match[2] or 1)), reverse=True):
        path = runs / match[0]
        if checkpoint_numbers(path) and fits(path):
            return path
    raise UserError(f"--resume: no run named {name} with a checkpoint in {runs}/; give its --run-dir")
