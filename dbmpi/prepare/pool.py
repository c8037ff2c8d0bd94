"""Work on many files by several processes, the results in order, in bounded memory."""

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing.connection import wait
from typing import TypeVar

from dbmpi.errors import STATUS_FAILURE, UserError

AHEAD = 4  # tasks that wait for each process: it never stands idle, and few results wait
OF_TERMINALS = signal.SIGINT, signal.SIGHUP  # which all processes get; by SIGTERM the pool ends its own
Task = TypeVar("Task")
Result = TypeVar("Result")


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))


def mapped(work: Callable[[Task], Result], tasks: Iterable[Task], jobs: int) -> Iterator[Result]:
    """Yield `work(task)` for each task in order, from so many processes. Raises UserError if one dies.

    Where there can be no more processes this one works alone, and says so.
    """
    tasks = iter(tasks)
    if jobs > 1:
        yield from _by_processes(work, tasks, jobs)
    yield from map(work, tasks)  # that are left


def _by_processes(work: Callable[[Task], Result], tasks: Iterator[Task], jobs: int) -> Iterator[Result]:
    """Yield the results of tasks: of all, or those that are taken while there can be processes."""
    try:
        pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), initializer=_end_with_parent)
    except OSError as error:  # as without /dev/shm
        _alone(error)
        return
    with pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for task in tasks:
                try:
                    waiting.append(_submitted(pool, work, task))
                except BrokenProcessPool:
                    raise
                except (OSError, RuntimeError) as error:  # no more processes, threads or descriptors
                    _alone(error)
                    yield from (one.result() for one in waiting)
                    yield work(task)
                    return
                if len(waiting) > AHEAD * jobs:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise UserError(
                "a process that reads files was killed: for lack of memory, or by a damaged file, which "
                "--jobs 1 shows"
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _submitted(pool: ProcessPoolExecutor, work: Callable[[Task], Result], task: Task) -> "Future[Result]":
    """Hand in a task. A process that is started for it never sees Ctrl-C: it ends with this one."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, OF_TERMINALS)
    try:
        return pool.submit(work, task)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _alone(error: Exception) -> None:
    print(f"dbmpi: warning: one process reads, as there can be no others: {error}", file=sys.stderr)


def _end_with_parent() -> None:
    """End this process as soon as the one that started it has ended, however that was."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(STATUS_FAILURE)

    with suppress(RuntimeError):  # there can be no more threads
        threading.Thread(target=watch, daemon=True).start()
