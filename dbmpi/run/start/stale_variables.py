"""What the environment says of a launcher that is gone, as a shell or a script has kept it. Without MPI.

By such a variable a serial run would be taken for one of many ranks: it would say nothing, as rank 0 speaks
for all, and MPI would look for a server that is not there.
"""

import os
import re
from collections.abc import Mapping, MutableMapping
from contextlib import suppress

from dbmpi.comm import ancestry

OF_RANKS = re.compile("(OMPI_COMM_WORLD_|PMIX_|PMI_|MPI_LOCAL).*")  # what Open MPI and MPICH tell each rank
OTHERS = re.compile("(PALS_|ALPS_|FLUX_|JSM_|MV2_|PMI2_|SLURM_STEP).*")  # launchers of which no more is known
SERVER = re.compile(r"tcp[46]?://\[?([\w.:-]+?)\]?:(\d+)")
PATIENCE_S = 1.0
forgotten: list[str] = []  # names, for who can say so


def forget(env: MutableMapping[str, str]) -> bool:
    """Remove the variables of a launcher from the environment if it is certainly gone; return whether. Local.

    It is where none is among the processes that this one descends from, and none can be reached.
    """
    names = sorted(name for name in env if OF_RANKS.fullmatch(name))
    if not names or any(map(OTHERS.fullmatch, env)) or not ancestry.unlaunched() or _reachable(env):
        return False
    for name in names:
        del env[name]
    forgotten.extend(names)
    return True


def warnings() -> list[str]:
    """Return what there is to say of variables that were removed."""
    if not forgotten:
        return []
    more = f" and {len(forgotten) - 1} more" if len(forgotten) > 1 else ""
    return [f"{forgotten[0]}{more}: left over from a launcher that is gone, and not used"]


def _reachable(env: Mapping[str, str]) -> bool:
    """Return whether the launcher that the environment names may be there."""
    servers = [text for name, text in env.items() if name.startswith("PMIX_SERVER_URI")]
    servers += [f"tcp://{env['PMI_PORT']}"] if "PMI_PORT" in env else []
    return _is_socket(env.get("PMI_FD", "")) or any(map(_answers, servers))


def _answers(server: str) -> bool:
    """Return whether something listens where a server is said to be; True for what is no address."""
    import socket  # here: only who has such a variable needs it

    address = SERVER.search(server)
    if address is None:
        return True
    with suppress(OSError):
        socket.create_connection((address[1], int(address[2])), PATIENCE_S).close()
        return True
    return False


def _is_socket(descriptor: str) -> bool:
    import stat

    with suppress(OSError, ValueError):
        return stat.S_ISSOCK(os.fstat(int(descriptor)).st_mode)
    return False
