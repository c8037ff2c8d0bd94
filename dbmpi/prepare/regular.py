"""Files to read, and nothing else that has a name: a pipe or a device could be read from for ever."""

import os
import stat
from pathlib import Path
from typing import BinaryIO

from dbmpi.errors import UserError

KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class NoFile(OSError):
    """What has the name is no file; the text says what it is."""


def opened(path: str | Path) -> BinaryIO:
    """Open a file to read. Raises OSError, also where it is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # does not wait for a writer
    except ValueError as error:  # a NUL in the name
        raise NoFile(str(error)) from error
    kind = stat.S_IFMT(os.fstat(descriptor).st_mode)
    if kind != stat.S_IFREG:
        os.close(descriptor)
        raise NoFile(f"is {KINDS.get(kind, 'something else')}, and no file")
    return os.fdopen(descriptor, "rb")


def reason(error: BaseException) -> str:
    """Say why a file cannot be read, on one line, without its name."""
    said = getattr(error, "strerror", None) or str(error)
    if not said and isinstance(error, EOFError):
        return "it ends too early"
    return " ".join(said.split()) or type(error).__name__


def check(path: Path) -> None:
    """Raise UserError unless a file can be read."""
    try:
        opened(path).close()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {reason(error)}; name a file that can") from error
