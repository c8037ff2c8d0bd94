"""Memory of one process that others on its node read and write in place. Without MPI.

A segment is an anonymous file (memfd): it has no name that a killed process could leave behind, it is not
bounded by the size of /dev/shm, and it ends with the last process that maps it. Another process of the same
user opens it through /proc, if it sees the maker there; on another node or in another container it does not.
All of a segment is allocated when it is made, so that a lack of memory is an error then, and no signal later.
"""

import ctypes
import mmap
import os
import weakref
from functools import cache
from typing import Any

import numpy as np

from dbmpi.arrays import Array, Record

AREA = np.dtype(
    [
        ("pid", "i4"),  # of the process that made the segment; 0: there is none
        ("fd", "i4"),  # its file descriptor
        ("bytes", "i8"),  # without the page that holds the token
        ("token", "u8"),  # random: the same process numbers may exist on another node
    ]
)
NAME = "dbmpi"
PAGE = mmap.PAGESIZE  # the first one holds the token
MAP = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)
FAILED = ctypes.c_void_p(-1).value


class Segment:
    """A segment that this process has made.

    Parameters
    ----------
    size
        In bytes.

    Attributes
    ----------
    area
        What others need to map it, an `AREA` record, `()`.

    Raises
    ------
    OSError
        There is not so much memory, or the system has no anonymous files.
    """

    def __init__(self, size: int) -> None:
        if not hasattr(os, "memfd_create"):
            raise OSError("this system has no anonymous files")
        self._fd = os.memfd_create(NAME, os.MFD_CLOEXEC)  # closed with this object, whatever fails here
        os.posix_fallocate(self._fd, 0, PAGE + size)
        self._map = _mapped(self._fd, PAGE + size)
        self.area = np.zeros((), AREA)
        self.area["pid"], self.area["fd"], self.area["bytes"] = os.getpid(), self._fd, size
        self.area["token"] = token = int.from_bytes(os.urandom(8), "little")
        _token(self._map)[0] = token

    def view(self, dtype: np.dtype[Any]) -> Array:
        """Return the memory as a new vector; it lives as long as any view of it."""
        return np.frombuffer(self._map, dtype, offset=PAGE)

    def __del__(self) -> None:
        if hasattr(self, "_fd"):
            os.close(self._fd)


def attach(area: Record) -> Array:
    """Map a segment of another process; return its bytes.

    Raises
    ------
    OSError
        It is not to be seen from here.
    """
    link = f"/proc/{area['pid']}/fd/{area['fd']}"
    if not os.readlink(link).startswith(f"/memfd:{NAME} "):
        raise OSError(f"{link} is another file")
    fd = os.open(link, os.O_RDWR | os.O_CLOEXEC)
    try:
        size = PAGE + int(area["bytes"])
        if os.fstat(fd).st_size != size:
            raise OSError(f"{link} has another size")
        mapped = _mapped(fd, size)
    finally:
        os.close(fd)
    if _token(mapped)[0] != area["token"]:
        raise OSError(f"{link} is of another process")
    return np.frombuffer(mapped, np.uint8, offset=PAGE)


def _mapped(fd: int, size: int) -> Any:
    """Map a file as long as the result lives; unlike `mmap.mmap` it keeps no descriptor: a shard maps many.

    Raises
    ------
    OSError
        It cannot be.
    """
    libc = _libc()
    address = libc.mmap(None, size, mmap.PROT_READ | mmap.PROT_WRITE, MAP, fd, 0)
    if address == FAILED:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    memory = (ctypes.c_char * size).from_address(address)
    weakref.finalize(memory, libc.munmap, address, size).atexit = False
    return memory


@cache
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    number, place, size = ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t
    libc.mmap.restype, libc.mmap.argtypes = place, (place, size, number, number, number, ctypes.c_long)
    libc.munmap.argtypes = place, size
    return libc


def _token(mapped: Any) -> Array:
    return np.frombuffer(mapped, np.uint64, 1)
