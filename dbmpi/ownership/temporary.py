"""Temporary directories: what a process that is killed leaves, the next one that makes such removes.

Who uses one holds a lock on it; where a file system has no locks, they stay.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SUFFIX = ".tmp"


def made(parent: Path, prefix: str) -> tuple[Path, int]:
    """Make a directory, for this user alone; return it, and the descriptor that holds the lock on it. Local.

    Others of this prefix that nobody holds are removed first. Raises OSError.
    """
    _clean(parent, prefix)
    while True:
        path = Path(tempfile.mkdtemp(SUFFIX, prefix, parent))
        try:
            descriptor = _opened(path)
        except FileNotFoundError:  # cleaned away before it was open
            continue
        with suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if path.exists():  # nobody has cleaned it away before it was locked
            return path, descriptor
        os.close(descriptor)


@contextmanager
def temporary(parent: Path, prefix: str) -> Iterator[Path]:
    """Yield such a directory, which goes at the end with all that is in it. Raises OSError."""
    path, descriptor = made(parent, prefix)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(descriptor)


def _clean(parent: Path, prefix: str) -> None:
    """Remove the directories of this user that nobody holds."""
    for name in os.listdir(parent):
        if name.startswith(prefix) and name.endswith(SUFFIX):
            with suppress(OSError):
                _remove(parent / name)


def _remove(path: Path) -> None:
    """Remove a directory of this user. Raises OSError where it is none, or somebody holds it."""
    descriptor = _opened(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_uid == os.geteuid():
            shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(descriptor)


def _opened(path: Path) -> int:
    """Open a directory, and not what a link leads to."""
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
