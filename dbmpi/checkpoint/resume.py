"""From which checkpoint a run goes on: the newest of its run directory that is whole and fits."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dbmpi.checkpoint import manifest, old_portions
from dbmpi.checkpoint.directory import checkpoint_directory, checkpoint_numbers
from dbmpi.checkpoint.manifest import Checkpoint
from dbmpi.checkpoint.whole_file import Damaged
from dbmpi.errors import UserError
from dbmpi.output import run_directory


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


def find(run_dir: Path, model: dict[str, Any], wanted: bool) -> tuple[Checkpoint | None, list[str]]:
    """Return the checkpoint to go on from, None to begin anew, and warnings about those that cannot be used.

    Parameters
    ----------
    run_dir
        An existing directory.
    model
        `manifest.model_of` this run.
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
        problem = str(found) if isinstance(found, Damaged) else _misfit(found, model)
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


def _misfit(found: Checkpoint, model: dict[str, Any]) -> str:
    """Say in what the model of a checkpoint differs from that of the run; nothing if it fits."""
    number, theirs = found.path.name, found.manifest.model
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


def newest(runs: Path, stem: str) -> Path:
    """Return the newest run directory of a name, of those that have checkpoints.

    Raises
    ------
    UserError
        There is none.
    """
    found = [path for path in runs.glob(f"{stem}-*") if checkpoint_numbers(path)]
    if not found:
        raise UserError(f"--resume: no run of this name with a checkpoint in {runs}/; give its --run-dir")
    return max(found, key=lambda path: path.name)
