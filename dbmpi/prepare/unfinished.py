"""A file that gets its name when it is whole. Until then it has another one, which it loses on an error.

Only a kill leaves that behind, until the next command for the same file: who writes holds a lock on it.
"""

import fcntl
import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from dbmpi.errors import UserError
from dbmpi.files import flush_directory, writing

ANYBODY = 0o666  # as far as the umask of the user lets them
_BEGUN: set[Path] = set()
_FINISHED: set[Path] = set()
LONGEST = 200  # bytes of a name, which gets some more


@contextmanager
def whole(out: Path, replace: bool, inputs: Sequence[Path]) -> Iterator[Path]:
    """Yield a path to write a file to, which becomes `out` in the end; nothing is left of it on an error.

    Parameters
    ----------
    out
        The name.
    replace
        Whether a file of that name may be replaced.
    inputs
        Files that it must not replace.

    Raises
    ------
    UserError
        It cannot be written, the name is that of something else, or was given to another file meanwhile.
    """
    _check(out, replace, inputs)
    with writing(out):
        _clean(out)
        descriptor, path = _opened(out)
    try:
        yield path
        with writing(out):
            os.fsync(descriptor)
            path.replace(out) if replace else _name(path, out)
            _FINISHED.add(out)
            flush_directory(out.parent)
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)
        _BEGUN.discard(path)
        os.close(descriptor)


def remove() -> bool:
    """Remove what this process has begun, as it ends by a signal; return whether it has finished nothing."""
    for path in _BEGUN:
        with suppress(OSError):
            path.unlink(missing_ok=True)
    return not _FINISHED


def _opened(out: Path) -> tuple[int, Path]:
    """Make an unfinished file; return its descriptor, by which it is locked, and its path."""
    while True:
        path = out.with_name(f"{_start(out)}{secrets.token_hex(4)}.tmp")
        _BEGUN.add(path)
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, ANYBODY)
        with suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if path.exists():  # nobody has cleaned it away before it was locked
            return descriptor, path
        os.close(descriptor)


def _start(out: Path) -> str:
    """Return how unfinished files of a name begin."""
    return f".{os.fsdecode(os.fsencode(out.name)[:LONGEST])}."


def _clean(out: Path) -> None:
    """Remove what commands have left that were killed: nobody holds a lock on it."""
    for one in os.listdir(out.parent):
        if one.startswith(_start(out)) and one.endswith(".tmp"):
            with suppress(OSError), out.with_name(one).open("r+b") as left:
                fcntl.flock(left, fcntl.LOCK_EX | fcntl.LOCK_NB)
                out.with_name(one).unlink()


def _check(out: Path, replace: bool, inputs: Sequence[Path]) -> None:
    """Refuse a name that cannot be given."""
    if not out.parent.is_dir() or out.is_dir():
        raise UserError(f"{out}: cannot be written: its folder is missing, or it is a folder itself")
    if not os.path.lexists(out):
        return
    if out.exists() and not stat.S_ISREG(out.stat().st_mode):
        raise UserError(f"{out}: is a pipe, a socket or a device; give the name of a file")
    if out.exists() and any(one.exists() and out.samefile(one) for one in inputs):
        raise UserError(f"{out}: is read, and so cannot be written; give another name")
    if not replace:
        raise _taken(out)


def _taken(out: Path) -> UserError:
    return UserError(f"{out}: is there already; give another name, or --replace")


def _name(path: Path, out: Path) -> None:
    """Give a file its name, unless somebody else has made one of that name meanwhile."""
    try:
        os.link(path, out)
    except FileExistsError:
        raise _taken(out) from None
    except OSError:  # a file system without hard links
        path.rename(out)
