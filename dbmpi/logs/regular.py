"""Files that others may have spoilt, opened for reading: what is no file is not waited for."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

OPENED = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


@contextmanager
def regular(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading. Raises OSError, also where it is a directory, a pipe or a device. Local."""
    descriptor = os.open(path, OPENED)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is no file", str(path))
        with open(descriptor, "rb", closefd=False) as file:
            yield file
    finally:
        os.close(descriptor)
