"""Where compiled kernels are kept: in directories of one's own that nobody else may write to.

Compiled code is run as it is read. So a directory is used that belongs to this user and is closed to others,
`dbmpi-kernels-<user>` in the first place of these that allows it:

1. `NUMBA_CACHE_DIR`, where that is set;
2. the directory of temporary files (`TMPDIR`, else /tmp);
3. `XDG_CACHE_HOME`, else `~/.cache`.

Where somebody else has made that name, another one is taken that cannot be guessed. Kernels are read too, and
not written, where root has left them in `NUMBA_CACHE_DIR`, as in the image of a container.
"""

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

NAME = "dbmpi-kernels"
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
ROOT = 0


def writable() -> Path | None:
    """Return the directory that new kernels are written to; None where there is none. Local."""
    return _writable(tuple(map(str, _bases())), os.geteuid())


def readable() -> list[Path]:
    """Return the directories in which kernels are looked for, in order. Local."""
    mine, chosen = writable(), os.environ.get("NUMBA_CACHE_DIR")
    found = [mine] if mine is not None else []
    if chosen:  # it may be one that can only be read
        names = [Path(chosen).absolute() / f"{NAME}-{user}" for user in (os.geteuid(), ROOT)]
        found += [one for one in dict.fromkeys(names) if one != mine and _closed(one, {os.geteuid(), ROOT})]
    return found


def contents(file: Path) -> bytes | None:
    """Return the bytes of a file that nobody but this user and root may change; None if it is none. Local.

    What is no plain file is not waited for.
    """
    try:
        handle = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        found = os.fstat(handle)
        owned = found.st_uid in (os.geteuid(), ROOT) and not found.st_mode & OTHERS_WRITE
        if not stat.S_ISREG(found.st_mode) or not owned:
            return None
        with os.fdopen(handle, "rb", closefd=False) as opened:
            return opened.read()
    except OSError:
        return None
    finally:
        os.close(handle)


def replace(file: Path, data: bytes) -> None:
    """Write a file whole, in place of whatever has its name. Local.

    Raises
    ------
    OSError
        It cannot be written.
    """
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=".new-")
    try:
        with os.fdopen(handle, "wb") as out:
            os.fchmod(handle, 0o600)  # whatever the umask
            out.write(data)
        if file.is_dir() and not file.is_symlink():
            os.rename(file, f"{name}-aside")
        os.replace(name, file)
    except OSError:
        with suppress(OSError):
            os.unlink(name)
        raise


def _bases() -> Iterator[Path]:
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    if chosen:
        yield Path(chosen).absolute()
    with suppress(OSError):  # no directory of temporary files can be written to
        yield Path(tempfile.gettempdir())
    cached = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if os.path.isdir(os.path.dirname(cached)):  # a home that is not there is not made
        yield Path(cached)


@cache
def _writable(bases: tuple[str, ...], user: int) -> Path | None:
    for base in map(Path, bases):
        with suppress(OSError):  # the next one may do
            base.mkdir(parents=True, exist_ok=True)
            for one in (base / f"{NAME}-{user}", *sorted(base.glob(f"{NAME}-{user}-*"))):
                if _made(one, user):
                    return one
            return Path(tempfile.mkdtemp(prefix=f"{NAME}-{user}-", dir=base))
    return None


def _made(path: Path, user: int) -> bool:
    """Return whether a directory is this user's alone, and there is room in it; make it if it is not there.

    Raises
    ------
    OSError
        It can be neither made nor written to.
    """
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
        path.chmod(0o700)  # whatever the umask
    if not _closed(path, {user}):
        return False
    tempfile.TemporaryFile(dir=path).close()
    return True


def _closed(path: Path, users: set[int]) -> bool:
    """Return whether a path is a directory of one of these users, which nobody else may write to."""
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid in users and not found.st_mode & OTHERS_WRITE
