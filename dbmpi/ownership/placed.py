"""Files whose place a user has named with an option: whole or not there, whoever else writes one there."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dbmpi.errors import CannotWrite, UserError
from dbmpi.files import replacing, writing
from dbmpi.ownership.temporary import temporary

OPTION = "-o"


def check(path: Path, begins: tuple[bytes, ...], what: str) -> None:
    """Refuse a place where no file can be, or where something else is, as a file of a run. Local.

    Parameters
    ----------
    begins
        How a file begins that may be replaced.
    what
        What such a file is called.

    Raises
    ------
    UserError
        Nothing may be written there.
    """
    with told(path, OPTION):
        if path.is_dir():
            raise UserError(f"{path}: is a folder; name a file in it with {OPTION}")
        if not path.parent.is_dir():
            raise UserError(f"{path}: its folder is not there; make it, or give another place with {OPTION}")
        if not path.is_file() or not os.path.getsize(path):
            return
        with path.open("rb") as there:
            if not there.read(max(map(len, begins))).startswith(begins):
                raise UserError(f"{path}: is there already, and no {what}; give another name with {OPTION}")


@contextmanager
def placed(path: Path, option: str = OPTION) -> Iterator[Path]:
    """Yield where to write a file; it is in its place in the end, or nothing is left of it.

    What a link leads to is replaced, not the link. A pipe or a device is written to.

    Raises
    ------
    CannotWrite
        It cannot be written.
    """
    with told(path, option):
        if path.exists() and not path.is_file():
            yield path
            return
        real = Path(os.path.realpath(path))
        with temporary(real.parent, f".{real.name}.") as room, replacing(real, room) as made:
            yield made


@contextmanager
def told(path: Path, option: str) -> Iterator[None]:
    """Say what to do where a place that an option names cannot be written. As `files.writing`."""
    try:
        with writing(path):
            yield
    except CannotWrite as problem:
        remedy = f"look at the space and the rights there, or give another place with {option}"
        raise CannotWrite(f"{problem}; {remedy}") from problem
