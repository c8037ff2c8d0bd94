"""HDF5 files that are written while other threads of the process go on."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py


@contextmanager
def creating(path: Path, libver: tuple[str, str] | None = None) -> Iterator[h5py.File]:
    """Create an HDF5 file, in place of one that is there. Local.

    It is written by Python: HDF5's own writes hold the interpreter, so that a disk that takes seconds for one
    would stop all threads of the process. `libver` is that of `h5py.File`.

    Raises
    ------
    OSError
        What the first call that failed did, as the context ends: use within `writing`, or `replacing`.
    """
    with path.open("w+b", buffering=0) as file:
        output = _Output(file.fileno())
        try:
            with h5py.File(output, "w", libver=libver) as out:
                yield out
        finally:
            if output.error is not None:
                raise output.error


class _Output:
    """A new file that HDF5 writes to, as h5py's driver for Python files asks for it.

    It keeps an error to itself, and what comes after it: HDF5 cannot close a file that it cannot write, and
    one that it has left open crashes the process at its end, when Python is gone before HDF5 is.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._at, self._end = descriptor, 0, 0
        self.error: OSError | None = None

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + (self._end if whence == os.SEEK_END else 0)
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int) -> bytes:
        return os.pread(self._descriptor, size, self._at)

    def write(self, data: memoryview) -> int:
        rest, at = memoryview(data).cast("B"), self._at
        self._at += len(rest)
        self._end = max(self._end, self._at)

        def write_all() -> None:
            start = 0
            while start < len(rest):
                start += os.pwrite(self._descriptor, rest[start:], at + start)

        self._attempt(write_all)
        return len(rest)

    def truncate(self, size: int) -> None:
        self._end = size
        self._attempt(lambda: os.truncate(self._descriptor, size))

    def flush(self) -> None:
        """Nothing waits."""

    def _attempt(self, act: Callable[[], None]) -> None:
        """Do something, unless something has gone wrong already."""
        try:
            if self.error is None:
                act()
        except OSError as error:
            self.error = error
