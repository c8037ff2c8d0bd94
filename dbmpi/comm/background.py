"""A task that may block for long, in a thread of its own, while this one goes on with its messages."""

import threading
import time
from collections.abc import Callable
from contextvars import copy_context
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

T = TypeVar("T")
Function = Callable[[], Any]
Call = Callable[[Function], Any]
POLL_S = 2e-3


class Background(Generic[T]):
    """Runs `task(call)` in a thread, in the context of the caller; begins at once.

    All messages of a rank are those of its main thread (`comm.abort` says what other threads do), so the task
    does what needs MPI by `call(function)`, which has `function` called by the thread that is in `result`,
    and returns or raises what it does.

    Parameters
    ----------
    task
        What to run. It gets `call`.
    """

    def __init__(self, task: Callable[[Call], T]) -> None:
        self._task = task
        self._asked: SimpleQueue[Function] = SimpleQueue()
        self._answers: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
        self._value: T | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=copy_context().run, args=(self._run,), daemon=True)
        self._thread.start()

    def result(self, meanwhile: Callable[[], object]) -> T:
        """Call `meanwhile` again and again until the task has ended; return or raise what it did. Local."""
        while self._thread.is_alive():
            meanwhile()
            try:  # not `get` with a timeout: a signal near its end may make it wait for ever
                self._answer(self._asked.get_nowait())
            except Empty:
                time.sleep(POLL_S)
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]  # it has ended without an error

    def _run(self) -> None:
        try:
            self._value = self._task(self._call)
        except BaseException as error:  # raised again in `result`
            self._error = error

    def _call(self, function: Function) -> Any:
        self._asked.put(function)
        value, error = self._answers.get()
        if error is not None:
            raise error
        return value

    def _answer(self, function: Function) -> None:
        try:
            self._answers.put((function(), None))
        except BaseException as error:  # raised in the task, which ends
            self._answers.put((None, error))
