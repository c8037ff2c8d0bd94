"""Files that get their names together, when all of them are whole and have been looked at."""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from dbmpi.errors import UserError
from dbmpi.files import flush_directory, writing
from dbmpi.ownership.temporary import temporary


def check_free(path: Path, replace: bool) -> None:
    """Refuse a name that cannot be written, or is taken. Raises UserError."""
    with writing(path):  # some names cannot even be looked for
        if not path.parent.is_dir() or path.is_dir():
            raise UserError(f"{path}: cannot be written: its folder is missing, or it is a folder itself")
        if path.exists() and not replace:
            raise UserError(f"{path}: is there already; give another name, or --replace")


@contextmanager
def appearing(path: Path, others: Sequence[Path] = ()) -> Iterator[Path]:
    """Yield a directory for files under the names that they will have beside `path`; move them in the end.

    Whatever is in the directory is moved, `path` last, and a file of that name goes before the first: where
    it is, the others belong to it. `others` are those that an earlier `path` may have had beside it: of them,
    none is left that is not replaced. After an error nothing has changed.

    Raises
    ------
    CannotWrite
        The disk is full, or there is another reason.
    """
    with ExitStack() as stack:
        with writing(path):
            room = stack.enter_context(temporary(path.parent, f".{path.name}."))
        yield room
        with writing(path):
            _move(room, path, others)


def _move(room: Path, path: Path, others: Sequence[Path]) -> None:
    made = sorted(room.iterdir(), key=lambda one: one.name == path.name)
    for one in made:
        with one.open("rb") as written:
            os.fsync(written.fileno())
    if len(made) > 1 or any(one.exists() for one in others):
        path.unlink(missing_ok=True)
    for one in others:
        one.unlink(missing_ok=True)
    for one in made:
        one.replace(path.parent / one.name)
    flush_directory(path.parent)
