"""Tests on several ranks: which run in this pass, and how the ranks stay in step.

    @pytest.mark.mpi(ranks=3)          or ranks=[2, 3]; timeout_s=60 ends a hang
    def test_something(comm): ...

`scripts/test` starts one `mpiexec -n N` pass for each N that a test asks for; by hand:
`mpiexec -n 3 python -m pytest tests/mpi`. After each phase of a test the ranks exchange their outcomes, so a
failure on one is a failure on all, none goes on alone, and only rank 0 prints.
"""

import faulthandler
import functools
import json
import os
import tempfile
import threading
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from mpi4py import MPI

NOT_LAUNCHED = "needs several ranks: ./scripts/test --only mpi, or mpiexec -n N python -m pytest tests/mpi"
DEFAULT_TIMEOUT_S = 60.0
# Between the dump of the stacks and the end of the ranks, so that all of them can dump.
DUMP_S = 3.0


def launched_ranks() -> int | None:
    """Return how many ranks mpiexec says it started; None when it did not start this process."""
    size = os.environ.get("OMPI_COMM_WORLD_SIZE", os.environ.get("PMI_SIZE"))
    return None if size is None else int(size)


@functools.cache
def world() -> "MPI.Comm":
    """Return the runner's own communicator, so that no test's messages mix with its own. Collective."""
    from mpi4py import MPI

    if MPI.COMM_WORLD.size != launched_ranks():
        pytest.exit(f"mpiexec started {launched_ranks()} ranks but MPI sees {MPI.COMM_WORLD.size}", 1)
    return MPI.COMM_WORLD.Dup()


@pytest.fixture(scope="session")
def used() -> "Iterator[list[MPI.Comm]]":
    """The communicators of past tests, freed at the end. Collective.

    Freed earlier, MPICH would give the next one the same context, and with it the messages that a test has
    sent and nobody has received.
    """
    duplicates: list[MPI.Comm] = []
    yield duplicates
    for duplicate in duplicates:
        duplicate.Free()


@pytest.fixture
def comm(used: "list[MPI.Comm]") -> "MPI.Comm":
    """A fresh duplicate of the world. Collective."""
    used.append(world().Dup())
    return used[-1]


@pytest.fixture
def folder(comm: "MPI.Comm") -> Iterator[Path]:
    """A folder of rank 0 for all: pytest gives each its own, and soon removes the oldest. Collective."""
    made = tempfile.TemporaryDirectory() if comm.rank == 0 else None
    yield Path(comm.bcast(made.name if made else None))
    comm.Barrier()
    if made:
        made.cleanup()


# -- which tests -------------------------------------------------------------------------------------------


class NotLaunched(pytest.Module):
    """A module of MPI tests that is skipped without being imported: there may be no MPI here."""

    def collect(self) -> list[pytest.Item]:
        pytest.skip(NOT_LAUNCHED, allow_module_level=True)


def pytest_pycollect_makemodule(module_path: Any, parent: pytest.Collector) -> pytest.Module | None:
    planning = parent.config.getoption("mpi_plan") is not None
    if launched_ranks() is None and not planning:
        return NotLaunched.from_parent(parent, path=module_path)
    if planning:
        import mpi4py

        mpi4py.rc.initialize = False  # test modules are only read
    return None


def wanted_ranks(item: pytest.Item) -> list[int]:
    """Return the rank counts a test asks for; a test without any would never run, so that is an error."""
    mark = item.get_closest_marker("mpi")
    ranks = mark.kwargs.get("ranks", []) if mark else []
    counts = [ranks] if isinstance(ranks, int) else list(ranks)
    if not counts:
        raise pytest.UsageError(f"{item.nodeid}: no pass would run it; mark it @pytest.mark.mpi(ranks=...)")
    return counts


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    ours = {item: wanted_ranks(item) for item in items if item.path.is_relative_to(os.path.dirname(__file__))}
    plan = config.getoption("mpi_plan")
    if plan is not None:
        plan.write_text(json.dumps({item.nodeid: ranks for item, ranks in ours.items()}))
        return
    others = [item for item, ranks in ours.items() if launched_ranks() not in ranks]
    config.hook.pytest_deselected(items=others)
    items[:] = [item for item in items if item not in others]


# -- in step -----------------------------------------------------------------------------------------------

stderr_key = pytest.StashKey[int]()
failures_key = pytest.StashKey[list[str]]()


@pytest.hookimpl(trylast=True)  # after the reporter has been registered
def pytest_configure(config: pytest.Config) -> None:
    if launched_ranks() is None:
        return
    config.stash[stderr_key] = os.dup(2)  # the real one: pytest captures what tests write
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if world().rank != 0 and reporter is not None:
        config.pluginmanager.unregister(reporter)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """Dump the stacks of a test that hangs, then end this rank, and mpiexec ends the others."""
    mark = item.get_closest_marker("mpi")
    limit_s = mark.kwargs.get("timeout_s", DEFAULT_TIMEOUT_S) if mark else DEFAULT_TIMEOUT_S
    item.stash[failures_key] = []
    faulthandler.dump_traceback_later(limit_s, file=item.config.stash[stderr_key])
    timer = threading.Timer(limit_s + DUMP_S, give_up, args=(item, limit_s))
    timer.daemon = True
    timer.start()
    try:
        return (yield)
    finally:
        timer.cancel()
        faulthandler.cancel_dump_traceback_later()


def give_up(item: pytest.Item, limit_s: float) -> None:
    """Say what this rank knows of the test that hangs, and leave without MPI, which may be what hangs."""
    known = "\n".join(item.stash[failures_key]) or "no failure here"
    text = f"rank {world().rank}: {item.nodeid} did not end in {limit_s:g} s; {known}\n"
    os.write(item.config.stash[stderr_key], text.encode())
    os._exit(1)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Give every rank the same outcome for this phase. Collective."""
    report = yield
    if report.failed:
        item.stash[failures_key].append(f"failed here:\n{report.longreprtext}")
    everyone = exchange((report.outcome, report.longreprtext if report.failed else ""))
    if {outcome for outcome, _ in everyone} != {report.outcome} or report.failed:
        report.outcome = "failed"
        lines = [f"[rank {rank}: {outcome}] {text}" for rank, (outcome, text) in enumerate(everyone)]
        report.longrepr = "\n".join(lines)
        vars(report).pop("wasxfail", None)
    return report


def exchange(mine: tuple[str, str]) -> list[tuple[str, str]]:
    """Return the outcome of every rank. Collective."""
    # Asleep: a rank that spins here would slow down those that still compute.
    arrived = world().Ibarrier()
    while not arrived.Test():
        time.sleep(0.001)
    return world().allgather(mine)
