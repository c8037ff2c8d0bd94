"""Where a fit writes: a directory that the user names, or one that goes when the estimator does."""

import os
import shutil
import tempfile
import weakref
from itertools import count
from pathlib import Path

from dbmpi.ownership.temporary import made

PREFIX = "dbmpi-fit-"


class RunDirectory:
    """The directory of one fit.

    A temporary one is removed with this object, or at the end of the process, or, if that is killed, by the
    next fit; a copy or a pickle of this object is None, as it does not own the directory.

    Parameters
    ----------
    wanted
        Where to write; where something is there, a number is added. None for a temporary directory.
    """

    def __init__(self, wanted: str | os.PathLike[str] | None) -> None:
        self.temporary = wanted is None
        if wanted is None:
            self.path, lock = made(Path(tempfile.gettempdir()), PREFIX)
            weakref.finalize(self, _remove, self.path, lock, os.getpid())
        elif not os.fspath(wanted):
            raise ValueError(f"run_dir = {wanted!r} names no directory; give one, or None")
        else:
            self.path = _new(Path(wanted).absolute())

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        return type(None), ()


def _new(wanted: Path) -> Path:
    """Make a directory of this name that was not there, or is empty; with a number where one is."""
    wanted.parent.mkdir(parents=True, exist_ok=True)
    for number in count(1):
        path = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
        try:
            path.mkdir()
            return path
        except FileExistsError:
            if path.is_dir() and not any(path.iterdir()):
                return path
    raise AssertionError("numbers have no end")


def _remove(path: Path, lock: int, owner: int) -> None:
    """Remove a directory, unless this process is a copy of the one that has made it."""
    if os.getpid() == owner:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)
