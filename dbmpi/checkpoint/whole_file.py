"""A file of a checkpoint, opened once: compared with its manifest, and read by that very opening.

A library that opens files by their names may get another one a moment later, or none and say nothing. So
values are read here by their places in the file. HDF5 is asked for these places only, of a file whose
checksum was found right: it is not made for damaged files.
"""

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from dbmpi.arrays import Array
from dbmpi.checkpoint.directory import FileRecord

if TYPE_CHECKING:
    import h5py

AT_ONCE = 1 << 30  # bytes that one call is asked for; Linux gives no more than 2 GiB
HDF5_RAISES = OSError, RuntimeError, KeyError, ValueError, TypeError


class Damaged(Exception):
    """A checkpoint that cannot be used; the text says why, beginning with the file."""


def open_regular(path: Path) -> BufferedReader:
    """Open a file that lies where its name says; a link, a pipe or a device is none. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "no regular file", str(path))
    return os.fdopen(descriptor, "rb")


@contextmanager
def readable(name: str) -> Iterator[None]:
    """Call a file damaged that cannot be opened or read. Raises Damaged in place of OSError."""
    try:
        yield
    except OSError as error:
        link = "a symbolic link, where a checkpoint has its own files"
        raise Damaged(f"{name}: {link if error.errno == errno.ELOOP else error.strerror or error}") from None


class WholeFile:
    """A file of a checkpoint that is as it was written. Use as a context.

    Parameters
    ----------
    path
        The file.
    said
        What the manifest says of it.
    file
        The file where it is open already: it becomes this object's.

    Raises
    ------
    Damaged
        It cannot be opened or read, or has another size or checksum.
    """

    def __init__(self, path: Path, said: FileRecord, file: BufferedReader | None = None) -> None:
        self.name = f"{path.parent.name}/{path.name}"
        with readable(self.name):
            self._file = file or open_regular(path)
        try:
            self._compare(said)
        except BaseException:
            self.close()
            raise

    def _compare(self, said: FileRecord) -> None:
        with readable(self.name):
            self.bytes = os.fstat(self._file.fileno()).st_size
            if self.bytes != said.bytes:
                raise Damaged(f"{self.name} has {self.bytes:,} bytes, not {said.bytes:,} as written")
            found = hashlib.file_digest(self._file, "sha256").hexdigest()
        if found != said.sha256:
            raise Damaged(f"{self.name} is not as it was written: its checksum differs")

    @contextmanager
    def structure(self) -> "Iterator[h5py.File]":
        """Yield what HDF5 makes of the file, to ask where values lie; for a short time. Raises Damaged."""
        import h5py

        try:
            with h5py.File(self._file, "r") as opened:
                yield opened
        except HDF5_RAISES as error:
            said = str(error).partition("\n")[0]
            unread = isinstance(error, OSError) and error.errno is not None
            what = "cannot be read" if unread else "is no file of a checkpoint"
            raise Damaged(f"{self.name} {what}: {said}") from None

    def read(self, offset: int, out: Array) -> None:
        """Fill a contiguous array from a place in the file, in bytes. Raises Damaged where it cannot all."""
        room = out.view("u1").reshape(-1).data
        with readable(self.name):
            while room.nbytes:
                got = os.preadv(self._file.fileno(), [room[:AT_ONCE]], offset)
                if not got:
                    raise Damaged(f"{self.name} has become shorter while it was read")
                room, offset = room[got:], offset + got

    def close(self) -> None:
        """Close the file. What was read of it is right, whatever the system says of this."""
        with suppress(OSError):
            self._file.close()

    def __enter__(self) -> "WholeFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
