"""A small process that ends a job of which a rank dies while MPI starts, where ranks may die (ULFM).

The others wait in the library then, in C, for ever, and no thread of Python runs meanwhile. So the first two
ranks on the launcher's host have this program run until MPI has started. It counts the processes that the
launcher has there: as many as the ranks, at least, as long as all live. If they are fewer, and no more come
for a while, it says so, and tells the launcher to end the job.

Where that cannot be seen (ranks on other hosts, processes of others among them, no /proc), nothing happens
here, and `run.start.starting.START_S` ends what waits. Time in which this process stands still does not
count.
"""

import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

SENTINELS = 2  # on a host: the first may belong to the rank that dies
LOOK_S = 0.5
SHORT_S = 5.0  # a launcher that starts many ranks has the next one started by then
FORWARD_S = 0.3  # for the launcher to pass on what was said
# Those that end a job with a status; where its helper on another host ends, the status is lost.
FOREMOST = {"mpirun", "mpiexec", "prterun", "orterun"}
PROC = Path("/proc")


@contextmanager
def watched(env: Mapping[str, str]) -> Iterator[None]:
    """Watch over the ranks of this host within, if this is the rank to do so. Local."""
    from subprocess import DEVNULL, Popen

    from dbmpi.comm.ancestry import DEATHS, launcher
    from dbmpi.run.start.launch import local_rank, number

    ranks, above = number(env.get("OMPI_COMM_WORLD_LOCAL_SIZE")), launcher()
    mine = env.get(DEATHS) == "1" and local_rank(env) < min(SENTINELS, ranks or 0)
    if not mine or above is None or _name(above) not in FOREMOST:
        yield
        return
    program = [sys.executable, "-I", "-S", __file__, f"{above}", f"{ranks}", f"{SHORT_S + local_rank(env)}"]
    process = None
    with suppress(OSError):  # no room for one more process
        process = Popen(program, stdin=DEVNULL, stdout=DEVNULL)
    try:
        yield
    finally:
        if process is not None:
            process.kill()
            process.wait()


def await_death(above: int, ranks: int, short_s: float, proc: Path = PROC) -> int | None:
    """Return how many processes a launcher has left when ranks have died; None if it has ended itself."""
    before, looks = 0, 0
    while _name(above, proc) in FOREMOST:
        there = sum(1 for _ in _children(above, proc))
        looks = 0 if there > before or there >= ranks else looks + 1
        if looks * LOOK_S > short_s:
            return there
        before = there
        time.sleep(LOOK_S)
    return None


def _children(parent: int, proc: Path) -> Iterator[int]:
    """Yield the processes that a process has started and that live, but for this one."""
    for name in os.listdir(proc):
        with suppress(OSError, ValueError, IndexError):
            state, above, *_ = (proc / name / "stat").read_text(errors="replace").rpartition(")")[2].split()
            if int(above) == parent and state not in "ZX" and int(name) != os.getpid():
                yield int(name)


def _name(pid: int, proc: Path = PROC) -> str:
    with suppress(OSError):
        return (proc / str(pid) / "comm").read_text(errors="replace").strip()
    return ""


def main(above: int, ranks: int, short_s: float) -> None:
    """Watch, and end the job if a rank dies."""
    left = await_death(above, ranks, short_s)
    if left is None:
        return
    sys.stderr.write(
        f"dbmpi: {ranks - left} of the {ranks} ranks of this host died while MPI started: the job ends with "
        "status 1; the same command starts it again\n"
    )
    sys.stderr.flush()
    time.sleep(FORWARD_S)
    os.kill(above, signal.SIGTERM)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
