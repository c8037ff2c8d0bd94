"""Exchange of two partitions in a training step, beside raw MPI of the same messages.

Two ranks, a core each, by `scripts.bench.boundary_ranks`: all exchanges of a step, without what is computed
between them, beside Isend and Irecv of as many bytes, both ways at once. As context one way of a ping-pong of
a step's bytes, which moves half of them, `mpi4py.bench`, and how partitions wait on a node with more ranks
than cores.
"""

import json
import statistics
import sys
from collections.abc import Iterator, Mapping

from scripts import processes
from scripts.bench.boundary_networks import BATCH, NETWORKS
from scripts.bench.core import Aim, Group, Options, Row, Turn
from scripts.launcher import ROOT
from scripts.training_runs import AS_ROOT, launch

LIMIT_S = 120
MESSAGE = 1 << 20


def groups(options: Options) -> Iterator[Group]:
    """Yield one group: all networks are measured by the same two ranks."""
    rows = []
    for name in NETWORKS:
        title = f"{name} B {BATCH}"
        raw = (f"{name} raw",)
        rows += [
            Row(f"{title}, exchange", f"{name} boundary", "s", raw, Aim(at_most=1.2), lower=True),
            Row(f"{title}, as on a crowded node", f"{name} crowded", "s", raw, lower=True),
            Row(f"{title}, one way of a ping-pong", f"{name} one way", "s", raw, lower=True),
        ]
    rows.append(Row("mpi4py.bench pingpong, 1 MiB one way", "pingpong", "s"))
    turns = {"ranks": exchanges(options), "pingpong": pingpong}
    yield Group("boundary", turns, rows)


def exchanges(options: Options) -> Turn:
    """Return a turn: the median seconds of each way for each network."""

    def turn() -> Mapping[str, float]:
        out = options.folder / "boundary.json"
        start([str(ROOT / "scripts" / "bench" / "boundary_ranks.py"), str(out)])
        found = json.loads(out.read_text())
        return {
            f"{name} {way}": statistics.median(times)
            for name, ways in found.items()
            for way, times in ways.items()
        }

    return turn


def pingpong() -> float:
    """Return the seconds that mpi4py's own benchmark gives for one way."""
    limits = ["-m", str(MESSAGE), "-n", str(MESSAGE), "--no-header", "--no-stats"]
    size, megabytes_per_s = start(["-m", "mpi4py.bench", "pingpong", *limits]).split()[:2]
    return int(size) / float(megabytes_per_s) / 1e6


def start(words: list[str]) -> str:
    """Run Python on two ranks; return what it prints."""
    one_thread = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1")
    done = processes.run([*launch(2), sys.executable, *words], timeout_s=LIMIT_S, env=AS_ROOT | one_thread)
    if done.status != 0 or done.timed_out:
        raise RuntimeError(str(done))
    return done.out
