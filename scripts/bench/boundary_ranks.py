"""Be one of two partitions that only exchange: `boundary_ranks.py FILE`, by mpirun on 2 ranks; writes JSON.

For each network: the exchanges of a training step by `model.boundary`, and the same messages by Isend and
Irecv, in turns; and one way of a ping-pong of as many bytes.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
from mpi4py import MPI

from dbmpi.comm.wait import Waiter
from dbmpi.config import load
from dbmpi.layout.boxes import volume
from dbmpi.layout.network import build
from dbmpi.layout.partitioning import Partitioning, Transfer
from dbmpi.model.boundary import Boundary, Peers
from dbmpi.model.workspace import Workspace
from scripts.bench.boundary_networks import BATCH, NETWORKS, Shape

TURNS, WARM, TIMEOUT_S = 40, 5, 60.0
Exchange = Callable[[], object]


def main(out: Path) -> None:
    """Take the turns of each network; rank 0 writes the seconds of each."""
    comm = MPI.COMM_WORLD
    found = {name: measured(comm, shape) for name, shape in NETWORKS.items()}
    if comm.Get_rank() == 0:
        out.write_text(json.dumps(found))


def measured(comm: MPI.Intracomm, shape: Shape) -> dict[str, list[float]]:
    """Return the seconds of each way, turn by turn."""
    config = load.load(shape.file, [*shape.settings, "model.loss=softmax"])
    partitioning = Partitioning(build(config, shape.inputs), 2)
    ways: dict[str, Exchange] = {
        "boundary": boundary(comm, partitioning, crowded=False),
        "crowded": boundary(comm, partitioning, crowded=True),
        "raw": raw(comm, partitioning),
        "one way": partial(one_way, comm, *buffers(sent(partitioning, 0))),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(TURNS):
        for name, run in ways.items():
            comm.Barrier()
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    times["one way"] = [taken / 2 for taken in times["one way"]]
    return {name: taken[WARM:] for name, taken in times.items()}


def boundary(comm: MPI.Intracomm, partitioning: Partitioning, crowded: bool) -> Exchange:
    """Return all exchanges of a training step, without what is computed between them."""
    peers = Peers(comm.Dup(), Waiter(TIMEOUT_S, crowded))
    workspace = Workspace(partitioning, comm.Get_rank(), BATCH, np.dtype("f4"))
    made = Boundary(peers, partitioning, comm.Get_rank(), workspace, True)
    inner = range(1, len(partitioning.network.spaces) - 1)

    def step() -> None:
        made.begin_forward()
        for space in inner:
            made.send_states(space)
            made.wait_states(space)
        made.exchange_stats()
        made.begin_backward()
        for space in reversed(inner):
            made.send_derivatives(space)
            made.wait_derivatives(space)
        made.sum_shared_gradients()
        made.finish()

    return step


def stages(partitioning: Partitioning, me: int) -> list[tuple[list[int], list[int]]]:
    """Return the bytes of the messages that a partition sends and receives, stage by stage of a step."""

    def sizes(transfers: Sequence[Transfer]) -> list[int]:
        return [volume(t.box) * BATCH * 4 for t in transfers]

    inner = range(1, len(partitioning.network.spaces) - 1)
    forward = []
    for space in inner:
        here = [t for t in partitioning.transfers if t.space == space]
        mine, theirs = ([t for t in here if (t.owner == me) is own] for own in (True, False))
        forward.append((sizes(mine), sizes(theirs)))
    statistics = 4 * BATCH * 8
    backward = [(into, out) for out, into in reversed(forward)]
    return [*forward, ([statistics], [statistics]), *backward]


def raw(comm: MPI.Intracomm, partitioning: Partitioning) -> Exchange:
    """Return the messages of a step by Isend and Irecv, each stage waited for."""
    other = 1 - comm.Get_rank()
    prepared = [
        ([buffers(size)[0] for size in out], [buffers(size)[0] for size in into])
        for out, into in stages(partitioning, comm.Get_rank())
    ]

    def step() -> None:
        for out, into in prepared:
            received = [comm.Irecv(one, other, tag) for tag, one in enumerate(into)]
            sent = [comm.Isend(one, other, tag) for tag, one in enumerate(out)]
            MPI.Request.Waitall([*received, *sent])

    return step


def sent(partitioning: Partitioning, me: int) -> int:
    """Return the bytes that a partition sends in a step."""
    return sum(sum(out) for out, _ in stages(partitioning, me))


def buffers(size: int) -> tuple[Any, Any]:
    """Return two buffers whose memory has been touched."""
    return np.ones(size, np.uint8), np.ones(size, np.uint8)


def one_way(comm: MPI.Intracomm, out: Any, into: Any) -> None:
    """Send there, and receive back."""
    for sends in (comm.Get_rank() == 0, comm.Get_rank() == 1):
        comm.Send(out, 1 - comm.Get_rank()) if sends else comm.Recv(into, 1 - comm.Get_rank())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
