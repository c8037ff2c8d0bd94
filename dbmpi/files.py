"""Files that are written whole or not at all, and what a failure to write one is called."""

import errno
import json
import os
import platform
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from dbmpi import __version__
from dbmpi.errors import CannotWrite

TOO_LARGE = "raise the limit of the size of files (ulimit -f), or begin on another file system with --run-dir"


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the failure to write a file of the run (a full disk, a quota) into one message. Local.

    Raises
    ------
    CannotWrite
        In place of OSError, and of the RuntimeError that h5py makes of some.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        if not isinstance(error, OSError) and type(error) is not RuntimeError:  # MPI's derive from it too
            raise
        said = re.search(r"errno = (\d+)", str(error))  # by HDF5
        number = int(said[1]) if said else getattr(error, "errno", None)
        reason = os.strerror(number) if number else str(error).partition("\n")[0]
        problem = CannotWrite(f"{path}: cannot be written: {reason}")
        if number == errno.EFBIG:
            problem.remedy = TOO_LARGE
        raise problem from error


def working_directory() -> str:
    """Return the working directory, for a message: it may have been removed. Local."""
    try:
        return os.getcwd()
    except OSError:
        return "one that is gone"


def flush_directory(path: Path) -> None:
    """Flush the names in a directory to disk, where the file system can. Local."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return
    with suppress(OSError):  # some network file systems have no such thing
        os.fsync(descriptor)
    with suppress(OSError):
        os.close(descriptor)


@contextmanager
def replacing(path: Path, room: Path | None = None) -> Iterator[Path]:
    """Yield a temporary name to write a file under; flush it at the end, and rename. Raises as `writing`.

    The name is in the same directory, or in `room`, which is on the same file system.
    """
    temporary = (room or path.parent) / f".{path.name}.tmp"
    with writing(path):
        try:
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):  # it takes room that may be scarce
                temporary.unlink()
            raise


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all. Raises as `writing`."""
    with replacing(path) as temporary:
        temporary.write_text(text, "utf-8")  # whatever the locale


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a mapping as JSON, whole or not at all."""
    write_text(path, json_text(content))


def json_text(content: Mapping[str, Any]) -> str:
    """Return a mapping as the text of a JSON file."""
    return json.dumps(content, indent=2) + "\n"


def versions() -> dict[str, str]:
    """Return the versions of this program and of what it runs on."""
    found = {"dbmpi": __version__, "python": platform.python_version()}
    return found | {name: _version(name) for name in ("numpy", "numba", "mpi4py", "h5py")}


@cache
def _version(name: str) -> str:
    """Return the version of a library; reading it takes milliseconds."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"
