"""Whether somebody touches a file while a run reads it: HDF5 would read other rows there, or zeros."""

import os
from pathlib import Path

_ALONE = (
    "leave it alone while a run reads it; the same command goes on from the last checkpoint, or begins again"
)


class Changed(OSError):
    """Somebody has done something to a file that is being read: it need not be damaged."""


class Watch:
    """Size and time of the last change of an open file, and where its name leads. Local.

    Parameters
    ----------
    path : Path
        What it was opened as.
    descriptor : int
        Of the open file, which the caller keeps open.
    by_name : bool
        Whether the name must go on leading to this file. One that is read alone is read on where it lies; of
        several that belong together, one under a new name means that others may be new as well.
    """

    def __init__(self, path: Path, descriptor: int, by_name: bool) -> None:
        self._path, self._descriptor, self._by_name = path, descriptor, by_name
        self._then = os.fstat(descriptor)

    @property
    def size(self) -> int:
        """Bytes of the file when it was opened."""
        return self._then.st_size

    def check(self) -> None:
        """Raise Changed if somebody has written to the file since it was opened, or took its name away.

        Its time is all that tells of a write, so `touch` is taken for one.

        Raises
        ------
        Changed
        OSError
            Where that cannot be seen.
        """
        now = os.fstat(self._descriptor)
        if now.st_size < self.size:
            raise OSError(f"the file shrank from {self.size} to {now.st_size} bytes")
        if now.st_mtime_ns != self._then.st_mtime_ns:
            raise Changed(f"the file was changed after it was opened, or its time was; {_ALONE}")
        if self._by_name and not os.path.samestat(self._named(), self._then):
            raise Changed(f"the file was replaced after it was opened; {_ALONE}")

    def _named(self) -> os.stat_result:
        try:
            return os.stat(self._path)
        except FileNotFoundError:
            raise Changed(f"the file was removed after it was opened; {_ALONE}") from None
