"""Watches a rank: which functions of the program run while a window is open."""

import json
import mmap
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from scripts.journeys.table import Journey

PACKAGES = "dbmpi", "kernels"
CLOSED, OPEN, PAST = 0, 1, 2  # of a window that all ranks share
Seen = dict[str, set[str]]  # module: functions


class Tracer:
    """The profile function of a rank: notes the modules entered while a window is open.

    Parameters
    ----------
    journey, rank, folder
        What is watched, who watches, and where it is written: `RANK.json`, anew whenever a window closes.
    """

    def __init__(self, journey: Journey, rank: int, folder: Path) -> None:
        self._journey, self._rank, self._folder = journey, rank, folder
        self._left = [journey.occurrence] * len(journey.windows)  # events until a window opens; 0: it has
        self._open: dict[int, int] = {}  # window: thread
        self._closed: list[int] = []
        self._inside: bool | None = None  # one of `inside`; None before the first of them
        self._importing: Counter[int] = Counter()  # modules, by thread
        self._names: dict[CodeType, str] = {}
        self._seen: Seen = {}
        self._calls = 0
        with (folder / "window").open("r+b") as file:
            self._shared = mmap.mmap(file.fileno(), 1)

    def start(self) -> None:
        """Begin to watch, on this thread and those that it starts."""
        threading.setprofile(self)
        sys.setprofile(self)

    def __call__(self, frame: FrameType, event: str, arg: object) -> None:
        """See `sys.setprofile`."""
        if event not in ("call", "return"):
            return
        name = self._names.get(frame.f_code)
        if name is None:
            module = frame.f_globals.get("__name__", "")
            name = self._names[frame.f_code] = f"{module}:{frame.f_code.co_qualname}"
        if name.startswith(PACKAGES):
            self._take(event, name)

    def _take(self, event: str, name: str) -> None:
        """Take in that a function of the program begins or ends."""
        called = event == "call"
        if name.endswith(":<module>"):
            self._importing[threading.get_ident()] += 1 if called else -1
        if called and name in self._journey.inside:
            self._inside = True
        self._look(f"{event} {name}")
        if called:
            self.note(name)
        elif name in self._journey.inside:
            self._inside = False

    @property
    def _watching(self) -> bool:
        """Whether what runs now on this thread counts."""
        thread = threading.get_ident()
        if self._inside is False or self._importing[thread]:
            return False
        return self._shared[0] == OPEN if self._journey.together else thread in self._open.values()

    def note(self, name: str) -> None:
        """Count a function if it runs while a window is open."""
        if self._watching:
            module, _, function = name.partition(":")
            self._seen.setdefault(module, set()).add(function)

    def _look(self, event: str) -> None:
        """Open and close windows, and let the rank die if it is time."""
        for i, (first, last) in enumerate(self._journey.windows):
            if i in self._open and event == last:
                self._close(i)
            elif event == first and i not in self._open and self._left[i] > 0:
                self._left[i] -= 1
                if not self._left[i]:
                    self._begin(i)
        if self._journey.together and self._shared[0] == PAST:
            self._write()
        if self._journey.dies is not None:
            self._die(event, *self._journey.dies)

    def _begin(self, i: int) -> None:
        if self._journey.together and self._shared[0] != CLOSED:
            return
        self._open[i] = threading.get_ident()
        self._shared[0] = OPEN

    def _close(self, i: int) -> None:
        del self._open[i]
        self._closed.append(i)
        self._shared[0] = PAST
        self._write()

    def _write(self) -> None:
        """Write what was seen, and watch no longer than needed."""
        seen = {module: sorted(functions) for module, functions in self._seen.items()}
        content = {"closed": self._closed, "seen": seen}
        (self._folder / f"{self._rank}.json").write_text(json.dumps(content))
        if self._journey.together:
            sys.setprofile(None)

    def _die(self, event: str, rank: int, at: str, call: int) -> None:
        """End this process as a fault would, if it is the one, at the call at which it should."""
        if rank != self._rank or event != at:
            return
        self._calls += 1
        if self._calls == call:
            lines = Path("/proc/self/maps").read_text().splitlines()
            left = {line.split()[5] for line in lines if " /dev/shm/" in line}
            (self._folder / "left").write_text("\n".join(left))
            os.kill(os.getpid(), signal.SIGKILL)


def watch_kernels(tracer: Tracer) -> None:
    """Let the tracer see calls of compiled kernels, which the profile function does not."""
    from kernels import jit

    for kind in (jit.Function, jit.Kernel):
        kind.__call__ = watched(kind.__call__, tracer)  # type: ignore[method-assign]


def watched(run: Callable[..., Any], tracer: Tracer) -> Callable[..., Any]:
    """Return what calls a kernel, and notes it."""

    def call(kernel: Any, *arguments: Any) -> Any:
        tracer.note(f"{kernel.__module__}:{kernel.__qualname__}")
        return run(kernel, *arguments)

    return call


class Import:
    """A finder of `sys.meta_path` that finds nothing, and lets kernels be watched once there are any.

    The coordinator never loads them.
    """

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """See `importlib.abc.MetaPathFinder`; what decorates kernels is loaded before them."""
        if name.startswith("kernels.") and hasattr(sys.modules.get("kernels.jit"), "parallel_kernel"):
            sys.meta_path.remove(self)
            watch_kernels(self._tracer)
