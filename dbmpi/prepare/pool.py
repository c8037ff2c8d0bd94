"""Work on many files by several processes, the results in order, in bounded memory.

Each process has a pipe to this one, and nothing else is shared: no memory, no locks, no threads. Where one
end goes, however that is, the other sees the end of the pipe.
"""

import multiprocessing
import os
import pickle
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from dbmpi.errors import UserError

AHEAD = 4  # results of each process that may wait for an earlier one
OF_TERMINALS = signal.SIGINT, signal.SIGHUP  # which all processes get
SAFE_PATH = "PYTHONSAFEPATH"
Task = TypeVar("Task")
Result = TypeVar("Result")


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))


def mapped(work: Callable[[Task], Result], tasks: Iterable[Task], jobs: int) -> Iterator[Result]:
    """Yield `work(task)` for each task in order, from so many processes. Raises UserError if one dies.

    Where there can be no others this process works alone, and says so.
    """
    tasks = iter(tasks)
    if jobs > 1:
        crew = _Crew(work, jobs)
        try:
            yield from crew.results(tasks)
        finally:
            crew.end()
    yield from map(work, tasks)  # that are left


class _Crew:
    """Processes that work, started as there is work for them."""

    def __init__(self, work: Callable[[Any], Any], jobs: int) -> None:
        self._work, self._jobs = work, jobs
        self._members: dict[Connection, BaseProcess] = {}
        self._idle: list[Connection] = []
        self._busy: dict[Connection, int] = {}  # with the task of a number

    def results(self, tasks: Iterator[Task]) -> Iterator[Any]:
        """Yield results in order; tasks that are left cannot be done, for lack of processes."""
        done: dict[int, Any] = {}
        given, first, more = 0, 0, True
        while True:
            while more and given - first < AHEAD * self._jobs and self._can_work():
                try:
                    task = next(tasks)
                except StopIteration:
                    more = False
                    break
                self._give(task, given)
                given += 1
            if first in done:  # all that are idle have work while it is used
                yield done.pop(first)
                first += 1
                self._collect(done, 0.0)
            elif first == given:
                return
            else:
                self._collect(done, None)

    def _can_work(self) -> bool:
        """Return whether a process is idle, if need be a new one."""
        if not self._idle and len(self._members) < self._jobs:
            try:
                self._start()
            except (OSError, RuntimeError) as error:  # no more processes, or descriptors
                self._jobs = len(self._members)
                if not self._members:
                    problem = "one process reads, as there can be no others"
                    print(f"dbmpi: warning: {problem}: {error}", file=sys.stderr)
        return bool(self._idle)

    def _start(self) -> None:
        """Start a process, which never sees Ctrl-C: it ends with this one."""
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, self._work), daemon=True)
        os.environ[SAFE_PATH] = "1"  # nor does it import from the working directory
        before = signal.pthread_sigmask(signal.SIG_BLOCK, OF_TERMINALS)
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            theirs.close()
        self._members[ours] = process
        self._idle.append(ours)

    def _give(self, task: Any, number: int) -> None:
        """Hand a task to a process that is idle: it reads, so that this cannot wait for it."""
        member = self._idle.pop()
        try:
            member.send(task)
        except OSError as error:
            raise _died() from error
        self._busy[member] = number

    def _collect(self, done: dict[int, Any], timeout_s: float | None) -> None:
        """Take the results that are there; without `timeout_s` wait for one."""
        for member in wait([*self._busy], timeout_s):
            assert isinstance(member, Connection)
            try:
                result, error = member.recv()
            except (OSError, EOFError) as gone:
                raise _died() from gone
            if error is not None:
                raise error
            done[self._busy.pop(member)] = result
            self._idle.append(member)

    def end(self) -> None:
        """End all processes: they only read."""
        for connection, process in self._members.items():
            process.kill()
            process.join()
            connection.close()


def _died() -> UserError:
    return UserError(
        "a process that reads files was killed: for lack of memory, or by a damaged file, which "
        "--jobs 1 shows"
    )


def _serve(connection: Connection, work: Callable[[Any], Any]) -> None:
    """Do tasks until the other end of the pipe is gone."""
    with suppress(EOFError, OSError):
        while True:
            task = connection.recv()
            try:
                result, problem = work(task), None
            except Exception as error:  # for the other side to raise
                result, problem = None, _sendable(error)
            connection.send((result, problem))


def _sendable(error: Exception) -> Exception:
    """Return an error that can be sent: some of libraries cannot."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
