"""Which checkpoints of a run are removed when another one is there."""

import stat
from collections.abc import Iterator
from pathlib import Path

from dbmpi.checkpoint import manifest
from dbmpi.checkpoint.directory import checkpoint_directory, checkpoint_numbers
from dbmpi.checkpoint.manifest import Checkpoint
from dbmpi.checkpoint.whole_file import Damaged
from dbmpi.ownership.owned import OwnedDirectory


def prune(owned: OwnedDirectory, keep: int, best: int | None) -> None:
    """Remove all checkpoints but the newest `keep` that look whole, the best, and what is newer than these.

    One that is damaged counts for nothing: it goes when `keep` newer ones are there. Raises as
    `OwnedDirectory.remove`.
    """
    whole = 0
    for number in checkpoint_numbers(owned.path):
        if whole < keep:
            whole += looks_whole(owned.path, number) is not None
        elif number != best:
            owned.remove(checkpoint_directory(owned.path, number))


def looks_whole(run_dir: Path, number: int) -> Checkpoint | None:
    """Return a checkpoint whose files have their sizes, which costs little to see; None if they do not."""
    try:
        found = manifest.read(checkpoint_directory(run_dir, number))
        whole = all(_has(found.path / name, said.bytes) for name, said in found.manifest.files.items())
    except (Damaged, OSError):
        return None
    return found if whole else None


def newest(run_dir: Path) -> Checkpoint | None:
    """Return the newest checkpoint that looks whole; None if none does. Raises as `checkpoint_numbers`."""
    return next(filter(None, (looks_whole(run_dir, number) for number in checkpoint_numbers(run_dir))), None)


def _has(path: Path, size: int) -> bool:
    """Return whether there is a regular file of this size. Raises OSError."""
    state = path.lstat()
    return stat.S_ISREG(state.st_mode) and state.st_size == size


def best_of(run_dir: Path) -> tuple[float, int] | None:
    """Return the best score of the checkpoints that look whole, and the newest with it; None for none."""
    return max(_scored(run_dir), default=None)


def _scored(run_dir: Path) -> Iterator[tuple[float, int]]:
    for number in checkpoint_numbers(run_dir):
        found = looks_whole(run_dir, number)
        if found is not None and found.manifest.score is not None:
            yield found.manifest.score, number
