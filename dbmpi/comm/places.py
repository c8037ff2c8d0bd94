"""Where ranks run. Without MPI."""

import os
import socket
from dataclasses import dataclass
from math import inf

from dbmpi.comm import control_groups
from dbmpi.process import NOBODY, Process, this_process


@dataclass(frozen=True)
class RankPlace:
    """Where one rank runs.

    Attributes
    ----------
    host, node
        Its name, and the node's number, in the order of first ranks.
    cores
        The cores that it may use.
    quota
        How many cores it may use at a time, with all others of its control group; infinity where that is not
        limited.
    process
        This one, as others on its host may find it.
    """

    host: str
    node: int
    cores: frozenset[int]
    quota: float = inf
    process: Process = NOBODY


def here(node: int = 0) -> RankPlace:
    """Return where this process runs. Local."""
    cores = frozenset(os.sched_getaffinity(0))
    return RankPlace(socket.gethostname(), node, cores, control_groups.cores(), this_process())
