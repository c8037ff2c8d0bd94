"""The trace of a job: each rank writes its file of `spans` into the run directory when it leaves.

A file gets its name like any other of the run, by way of the owner's room (`ownership.owned`), so it is whole
or not there, and a job that has lost the directory leaves none. What cannot be written is a warning.
"""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from dbmpi.comm.protocol import Command, Op, Work
from dbmpi.comm.wait import CAUSES
from dbmpi.errors import Fenced, PeerSilent, TakenOver, UserError
from dbmpi.output.run_directory import TRACE, trace_directory, trace_file
from dbmpi.ownership.owned import OwnedDirectory
from dbmpi.run.start.refusal import say_warning
from dbmpi.spans import Recorder, clock, kinds, names

if TYPE_CHECKING:
    from mpi4py import MPI

    from dbmpi.comm.clocks import Offset
    from dbmpi.run.roles.context import RunContext

WRITING_S = 30.0  # longer than that nobody waits for a file of a trace,
FAILING_S = 2.0  # and a rank that has failed not so long: the others wait to hear of it


@contextmanager
def traced(context: "RunContext", comm: "MPI.Intracomm | None" = None) -> Iterator[None]:
    """Write this rank's file at the end of what is within, however it ends. Collective over `comm`.

    Parameters
    ----------
    comm
        All ranks of the job; None where there is one.
    """
    spans = context.waiter.spans
    if not isinstance(spans, Recorder):
        yield
        return
    trace = _Trace(context, comm, spans)
    trace.begin()
    patience_s = FAILING_S
    try:
        yield
        patience_s = WRITING_S
        trace.end()
    finally:
        trace.write(patience_s)


class _Trace:
    """The trace of one rank; see `traced`."""

    def __init__(self, context: "RunContext", comm: "MPI.Intracomm | None", spans: Recorder) -> None:
        self._context, self._comm, self._spans = context, comm, spans
        self._setup, self._rank = context.setup, comm.Get_rank() if comm is not None else 0
        node = self._setup.places[self._rank].node
        self._first = self._rank == min(r for r, p in enumerate(self._setup.places) if p.node == node)
        self._offsets: list[Offset] = []

    def begin(self) -> None:
        """Make the place of the files, on rank 0, and compare clocks."""
        if self._rank == 0:
            with suppress(OSError):  # what cannot be made is told when the files are written
                trace_directory(self._setup.owned).mkdir(parents=True, exist_ok=True)
        self._compare()

    def end(self) -> None:
        """Compare clocks once more: they drift. Not where ranks may have died, or one is silent."""
        if not self._context.may_die:
            with suppress(PeerSilent):
                self._compare()

    def _compare(self) -> None:
        if self._comm is None:
            return
        from dbmpi.comm.clocks import offset

        node = self._setup.places[0].node
        others = [rank for rank, place in enumerate(self._setup.places) if place.node != node]
        waiter = self._context.waiter
        before = waiter.take_waited()
        self._offsets.append(offset(self._comm, others, waiter))
        waiter.waited_s, waiter.polled_s = before

    def write(self, patience_s: float) -> None:
        """Write the file, and wait so long for that; a file system that hangs holds up nobody longer."""
        problems: list[str] = []
        thread = threading.Thread(target=self._write, args=(problems,), daemon=True)
        thread.start()
        thread.join(patience_s)
        if thread.is_alive():
            problems.append(f"it is not written after {patience_s:g} s")
        if problems and self._first:  # not 64 times: the command says which are missing
            with suppress(OSError):
                say_warning(f"no {TRACE} of rank {self._rank}: {problems[0]}")
                sys.stderr.flush()

    def _write(self, problems: list[str]) -> None:
        owned: OwnedDirectory = self._setup.owned
        try:
            with owned.replacing(trace_file(owned, self._rank)) as path, path.open("wb") as file:
                for part in self._spans.parts(self._header()):
                    file.write(part)
        except (TakenOver, Fenced):
            pass  # the directory is another's
        except (OSError, UserError) as error:
            problems.append(str(error))

    def _header(self) -> dict[str, Any]:
        """Return what the file says of itself."""
        setup, topology = self._setup, self._setup.topology
        role = topology.roles[self._rank]
        return {
            "rank": self._rank,
            "ranks": len(topology.roles),
            "role": str(role),
            "role_kind": role.kind,
            "host": setup.places[self._rank].host,
            "node": setup.places[self._rank].node,
            "generation": setup.owned.generation,
            "mib": self._context.config.output.trace_mib,
            "offsets": [list(one) for one in self._offsets],
            "clock": list(clock()),
            "kinds": kinds(),
            "causes": dict(enumerate(CAUSES)),
            "works": names(Work),
            "ops": {int(op): str(op.name).lower() for op in Op},
            "commands": names(Command),
        }
