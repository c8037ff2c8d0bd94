"""Work on many files by several processes, the results in order, in bounded memory.

Each process has a pipe from this one and a pipe to it, and nothing else is shared: no memory, no locks, no
threads. Where one end goes, however that is, the other sees the end of the pipe.
"""

import fcntl
import multiprocessing
import os
import pickle
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnContext
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler
from typing import Any, TypeVar

from dbmpi.errors import UserError

PIPE_BYTES = 1 << 20  # the most for any user: a task goes in as a whole, and nobody waits for who reads it
HEADER_BYTES = 1 << 14  # in whole pages
TASKS_OF_ONE = 2  # that a process works on, and the next one
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


@dataclass
class _Member:
    """A process, the way to it, how many bytes that holds, and the numbers of the tasks that it has."""

    process: BaseProcess
    tasks: Connection
    room: int
    numbers: deque[int] = field(default_factory=deque)


class _Crew:
    """Processes that work, started as there is work for them."""

    def __init__(self, work: Callable[[Any], Any], jobs: int) -> None:
        self._work, self._jobs = work, jobs
        self._members: dict[Connection, _Member] = {}  # by where results come from

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
                self._give(task, given, done)
                given += 1
            if first in done:
                yield done.pop(first)
                first += 1
                self._collect(done, 0.0)
            elif first == given:
                return
            else:
                self._collect(done, None)

    def _can_work(self) -> bool:
        """Return whether a process can take a task, if need be a new one."""
        if all(one.numbers for one in self._members.values()) and len(self._members) < self._jobs:
            try:
                self._start()
            except (OSError, RuntimeError) as error:  # no more processes, or descriptors
                self._jobs = len(self._members)
                if not self._members:
                    problem = "one process reads, as there can be no others"
                    print(f"dbmpi: warning: {problem}: {error}", file=sys.stderr)
        return any(len(one.numbers) < TASKS_OF_ONE for one in self._members.values())

    def _start(self) -> None:
        """Start a process, which never sees Ctrl-C: it ends with this one."""
        context = multiprocessing.get_context("spawn")
        results, answers, _ = _pipe(context)
        orders, tasks, holds = _pipe(context)
        process = context.Process(target=_serve, args=(orders, answers, self._work), daemon=True)
        os.environ[SAFE_PATH] = "1"  # nor does it import from the working directory
        before = signal.pthread_sigmask(signal.SIG_BLOCK, OF_TERMINALS)
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            for theirs in (orders, answers):
                theirs.close()
        self._members[results] = _Member(process, tasks, holds)

    def _give(self, task: Any, number: int, done: dict[int, Any]) -> None:
        """Hand a task to the process that has the fewest, without waiting for it to read.

        It may be at work: a task that its pipe does not hold goes to one that is idle, and reads.
        """
        message = ForkingPickler.dumps(task)
        while (member := self._least_busy()).numbers and len(message) > member.room:
            self._collect(done, None)
        try:
            member.tasks.send_bytes(message)
        except OSError as error:
            raise _died() from error
        member.numbers.append(number)

    def _least_busy(self) -> "_Member":
        return min(self._members.values(), key=lambda one: len(one.numbers))

    def _collect(self, done: dict[int, Any], timeout_s: float | None) -> None:
        """Take the results that are there; without `timeout_s` wait for one."""
        for results in wait([one for one, member in self._members.items() if member.numbers], timeout_s):
            assert isinstance(results, Connection)
            try:
                result, error = results.recv()
            except (OSError, EOFError) as gone:
                raise _died() from gone
            if error is not None:
                raise error
            done[self._members[results].numbers.popleft()] = result

    def end(self) -> None:
        """End all processes: they only read."""
        for results, member in self._members.items():
            member.process.kill()
            member.process.join()
            results.close()
            member.tasks.close()


def _pipe(context: SpawnContext) -> tuple[Connection, Connection, int]:
    """Return the ends of a pipe, to read and to write, and how many bytes of a message it holds."""
    reads, writes = context.Pipe(duplex=False)
    with suppress(OSError):  # as many as this user may
        fcntl.fcntl(writes.fileno(), fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return reads, writes, fcntl.fcntl(writes.fileno(), fcntl.F_GETPIPE_SZ) - HEADER_BYTES


def _died() -> UserError:
    return UserError(
        "a process that reads files was killed: for lack of memory, or by a damaged file, which "
        "--jobs 1 shows"
    )


def _serve(orders: Connection, answers: Connection, work: Callable[[Any], Any]) -> None:
    """Do tasks until the other end of a pipe is gone."""
    with suppress(EOFError, OSError):
        while True:
            task = orders.recv()
            try:
                result, problem = work(task), None
            except Exception as error:  # for the other side to raise
                result, problem = None, _sendable(error)
            answers.send((result, problem))


def _sendable(error: Exception) -> Exception:
    """Return an error that can be sent: some of libraries cannot."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
