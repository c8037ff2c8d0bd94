"""Room for the memory that the ranks of a node share: in /dev/shm, before MPI takes it. Without MPI.

A container gives it 64 MB, and killed jobs leave theirs there. Where it is full Open MPI and MPICH end by
SIGBUS, at some message. The segments of `comm.segments` are not there.
"""

import os
import tempfile
from collections.abc import MutableMapping
from contextlib import suppress
from pathlib import Path

from dbmpi.errors import UserError
from dbmpi.run.start.launch import number

SHARED = Path("/dev/shm")
SEGMENT = 16 << 20  # of each rank of Open MPI, taken as messages come
LEAST_SEGMENT = 2 << 20
MPICH_EACH = 6 << 20  # of each rank of MPICH, at its start; measured: 5.3 MB


def provide(env: MutableMapping[str, str]) -> list[str]:
    """Let the ranks of a node have room for the memory that they share, or refuse.

    Raises
    ------
    UserError
        MPICH has no room, and no other way.
    """
    free = free_bytes(SHARED)
    ranks = number(env.get("OMPI_COMM_WORLD_LOCAL_SIZE")) or 0
    if ranks > 1 and free < ranks * SEGMENT and not _told(env):
        return _shrink(env, ranks, free)
    ranks = number(env.get("MPI_LOCALNRANKS")) or 0
    if ranks > 1 and free < ranks * MPICH_EACH:
        raise UserError(
            f"{SHARED} has {mb(free)} free, and the {ranks} ranks of MPICH on this node take "
            f"{mb(ranks * MPICH_EACH)}: {_REMEDY}, or start fewer ranks on a node"
        )
    return []


_REMEDY = (
    "remove what killed jobs have left there (mpich_shm_*, sm_segment.* of no running job), or make it "
    "larger (docker run --shm-size=1g; mount -o remount,size=1g /dev/shm)"
)


def _told(env: MutableMapping[str, str]) -> bool:
    """Return whether the user has said which memory Open MPI shares."""
    return any(f"OMPI_MCA_btl_sm_{name}" in env for name in ("backing_directory", "segment_size"))


def _shrink(env: MutableMapping[str, str], ranks: int, free: int) -> list[str]:
    """Let Open MPI share segments for which there is room, or files elsewhere."""
    size = SEGMENT
    while size >= LEAST_SEGMENT and 2 * size * ranks > free:  # it takes up to twice what it is told
        size //= 2
    if size >= LEAST_SEGMENT:
        env["OMPI_MCA_btl_sm_segment_size"] = str(size)
        return []
    elsewhere = _elsewhere(ranks * SEGMENT)
    if elsewhere is None:
        return [f"{SHARED} has {mb(free)} free: ranks may be slow, or end by SIGBUS; {_REMEDY}"]
    env["OMPI_MCA_btl_sm_backing_directory"] = elsewhere
    return [f"{SHARED} has {mb(free)} free: ranks share memory in {elsewhere} instead; {_REMEDY}"]


def _elsewhere(room: int) -> str | None:
    """Return a directory of temporary files with so much room; None if there is none."""
    with suppress(OSError):  # there is no such directory
        found = tempfile.gettempdir()
        return found if free_bytes(Path(found)) >= room else None
    return None


def free_bytes(directory: Path) -> int:
    """Return the bytes that this user may write to a file system; 0 where there is none. Local."""
    try:
        found = os.statvfs(directory)
    except OSError:
        return 0
    return found.f_bavail * found.f_frsize if os.access(directory, os.W_OK) else 0


def mb(size: int) -> str:
    """Write a number of bytes in megabytes."""
    return f"{size / 1e6:,.0f} MB"
