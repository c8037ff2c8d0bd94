#!/usr/bin/env python3
"""Count the modules that a journey through the program enters: `journeys.py [JOURNEY ...] [--list]`.

How many files must one read to follow a gradient to the parameters and back, or a checkpoint to the disk?
Each journey is made once, on real ranks on the embedded digits, and watched by `sys.setprofile`: counted
are the modules of dbmpi and kernels of which a function runs meanwhile, generated methods of dataclasses
included; what runs only because a module is imported does not count. A compiled kernel counts for the
module it is written in, not for those whose helpers are inlined into it. Prints the count in all and by
role, dbmpi and kernels apart, with --list the modules and their functions. Needs Open MPI. About 5 s a
journey, more where kernels are to be compiled.
"""

import argparse
import json
import mmap
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from dbmpi.screen import screens


@dataclass(frozen=True)
class Journey:
    """What is watched, in which run.

    Parameters
    ----------
    what
        Where it begins and where it ends.
    ranks, settings
        Of the run: 1 coordinator + shards + replicas x partitions; 0 ranks: no run, a configuration is read.
    windows
        Pairs of events, "call MODULE:FUNCTION" or "return MODULE:FUNCTION": a rank is watched from the first
        to the second, once in each window.
    occurrence
        Which of the first events counts, from 1: not one of the first where these have more to do.
    together
        Whether all ranks are watched while the window is open on one of them.
    inside
        Functions: where one of these runs again and again, only what it calls counts, not the loop around it.
    resumed
        Settings of a run before it, from whose checkpoint this one goes on; None for none.
    dies
        A rank, and which of its calls of which function it does not survive; None for none.
    """

    what: str
    ranks: int
    settings: Sequence[str]
    windows: Sequence[tuple[str, str]]
    occurrence: int = 1
    together: bool = False
    inside: Sequence[str] = ()
    resumed: Sequence[str] | None = None
    dies: tuple[int, str, int] | None = None


def during(name: str) -> tuple[str, str]:
    """Return the window that is open from the call of a function to its return."""
    return f"call {name}", f"return {name}"


# -- the one place that knows names of the program ---------------------------------------------------------

TWO_REPLICAS = "cluster.shards=1 cluster.replicas=2 cluster.partitions=1".split()
TWO_SHARDS = "cluster.shards=2 cluster.replicas=2 cluster.partitions=1".split()
TILES = "cluster.shards=1 cluster.replicas=2 cluster.partitions=2".split()
L_BFGS = "train.algorithm=sandblaster train.minibatch=100 sandblaster.deterministic=true".split()
PROGRAM = "dbmpi.train:main"
JOURNEYS = {
    "key": Journey(
        "a key of the TOML file, to the dataclass that holds it",
        0,
        ["train.minibatch = 32"],
        [during("dbmpi.config.load:load")],
    ),
    "gradient": Journey(
        "a gradient of Downpour: from the minibatch to the shard, and its reply to the parameters",
        4,
        [*TWO_REPLICAS, "train.epochs=3", "downpour.overlap=false"],
        [
            during("dbmpi.replica.downpour:DownpourClient.step"),
            during("dbmpi.server.service:ShardService._serve"),
        ],
        occurrence=20,
    ),
    "iteration": Journey(
        "an iteration of L-BFGS, with an evaluation on the held-out set",
        5,
        [*TWO_SHARDS, *L_BFGS, "sandblaster.iterations=12", "output.shard_every_s=600"],
        [
            (
                "return dbmpi.sandblaster.training:Sandblaster._record_iteration",
                "return dbmpi.sandblaster.training:Sandblaster._record_iteration",
            )
        ],
        occurrence=6,
        together=True,
        inside=["dbmpi.server.service:ShardService._serve"],
    ),
    "save": Journey(
        "a checkpoint, from the moment that it is taken until it has its name and is recorded",
        5,
        [*TWO_SHARDS, "train.epochs=30", "checkpoint.every_examples=10000", "output.shard_every_s=600"],
        [
            during("dbmpi.coordinator.checkpoint_manager:CheckpointManager.save"),
            during("dbmpi.coordinator.pending_checkpoint:PendingCheckpoint.written"),
            during("dbmpi.coordinator.pending_checkpoint:PendingCheckpoint._complete"),
            during("dbmpi.coordinator.checkpoint_manager:CheckpointManager._record"),
            during("dbmpi.server.service:ShardService._checkpoint"),
            during("dbmpi.checkpoint.shard_file:ShardWriter._write"),
        ],
    ),
    "resume": Journey(
        "going on: from the run directory to the first minibatch, without what any start does",
        5,
        [*TWO_SHARDS, "train.epochs=3"],
        [
            during("dbmpi.run.setup:_go_on"),
            (
                "call dbmpi.run.coordinator_rank:coordinate",
                "call dbmpi.coordinator.service:CoordinatorService.drive",
            ),
            during("dbmpi.run.shard_rank:restore_shard"),
            (
                "call dbmpi.replica.downpour:DownpourClient.train",
                "call dbmpi.replica.downpour:DownpourClient.step",
            ),
        ],
        resumed=["train.epochs=2"],
    ),
    "death": Journey(
        "the death of a rank: until its replica has left, and others have its work",
        6,
        [*TILES, "train.epochs=20", "train.portion=2", "checkpoint.mirror_s=0"],
        [
            during("dbmpi.comm.ulfm:FailureDetector.learn"),
            (
                "call dbmpi.coordinator.service:CoordinatorService._handle_failures",
                "return dbmpi.coordinator.replicas:ReplicaTable.order",
            ),
            ("call dbmpi.comm.ulfm:lost", "call dbmpi.replica.service:ReplicaService._next"),
        ],
        dies=(5, "call dbmpi.replica.downpour:DownpourClient.step", 40),
    ),
}

# ----------------------------------------------------------------------------------------------------------

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = "dbmpi", "kernels"
ULFM = "--with-ft ulfm --mca coll ^han --mca mpi_preconnect_mpi 1 --mca mpi_yield_when_idle 1".split()
OPEN_MPI = "--oversubscribe --bind-to none --mca pml ob1 --mca btl self,sm,tcp".split()
ROOT_MAY = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
TIMEOUT_S = 120.0
CLOSED, OPEN, PAST = 0, 1, 2  # of a window that all ranks share
Seen = dict[str, set[str]]  # module: functions


# -- within a rank -----------------------------------------------------------------------------------------


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


def within(name: str, folder: Path, arguments: Sequence[str]) -> int:
    """Run the program as one rank, and watch it."""
    journey = JOURNEYS[name]
    tracer = Tracer(journey, int(os.environ.get("OMPI_COMM_WORLD_RANK", "0")), folder)
    sys.meta_path.insert(0, Import(tracer))
    main = function(PROGRAM if journey.ranks else journey.windows[0][0].split()[1])
    tracer.start()
    status = main(arguments) if journey.ranks else main(*arguments)
    return status if journey.ranks else 0


def function(name: str) -> Any:
    """Return the function "MODULE:NAME"."""
    module, _, attribute = name.partition(":")
    __import__(module)
    return getattr(sys.modules[module], attribute)


# -- the parent --------------------------------------------------------------------------------------------


def make(name: str, folder: Path) -> dict[str, Seen]:
    """Make a journey; return what was seen, by role."""
    journey = JOURNEYS[name]
    (folder / "window").write_bytes(bytes([CLOSED]))
    if not journey.ranks:
        config = folder / "one.toml"
        key, _, value = journey.settings[0].partition(".")
        config.write_text(f"[{key}]\n{value}\n")
        launch(journey, [*here(name, folder), str(config)])
        return {"reader": seen_by(0, folder)}
    run = ["--run-dir", str(folder / "run"), "--set", "output.progress=none", *journey.settings]
    if journey.resumed is not None:
        launch(journey, ["-m", PROGRAM.partition(":")[0], *run, *journey.resumed])
    launch(journey, [*here(name, folder), *run])
    check(journey, folder)
    return by_role(folder)


def here(name: str, folder: Path) -> list[str]:
    """Return the words that start this script as a rank."""
    return [str(Path(__file__).resolve()), "--within", name, str(folder)]


def launch(journey: Journey, words: Sequence[str]) -> None:
    """Run Python on the ranks of a journey, to the end.

    Raises
    ------
    SystemExit
        It fails; the text is what it said.
    """
    launcher = shutil.which("mpirun", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    flags = [*OPEN_MPI, *(ULFM if journey.dies else [])]
    start = [launcher or "mpirun", *flags, "-n", str(journey.ranks)] if journey.ranks else []
    environment = os.environ | ROOT_MAY | {"PYTHONPATH": str(ROOT)}
    command = [*start, sys.executable, *words]
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=out)
        try:
            status = process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.terminate()  # the launcher ends its ranks
            status = process.wait(TIMEOUT_S)
        out.seek(0)
        if status:
            raise SystemExit(f"{' '.join(command)}\nended with status {status}:\n{out.read()}")


def by_role(folder: Path) -> dict[str, Seen]:
    """Return what the ranks have written, those of a role together."""
    seen: dict[str, Seen] = {}
    for rank in json.loads((folder / "run" / "run.json").read_text())["ranks"]:
        mine = seen.setdefault(rank["role"].split()[0], {})
        for module, functions in seen_by(rank["rank"], folder).items():
            mine.setdefault(module, set()).update(functions)
    if (folder / "left").exists():  # in shared memory, by one that died
        for path in (folder / "left").read_text().splitlines():
            Path(path).unlink(missing_ok=True)
    return seen


def check(journey: Journey, folder: Path) -> None:
    """Raise SystemExit if a window was never closed: a name of the table is not, or no more, there."""
    closed = {i for path in folder.glob("*.json") for i in json.loads(path.read_text())["closed"]}
    for i, (first, last) in enumerate(journey.windows):
        if i not in closed:
            raise SystemExit(f"nobody came from '{first}' to '{last}': do these functions exist?")


def seen_by(rank: int, folder: Path) -> Seen:
    """Return what a rank has written; nothing if no window was opened there."""
    path = folder / f"{rank}.json"
    content: Mapping[str, list[str]] = json.loads(path.read_text())["seen"] if path.exists() else {}
    return {module: set(functions) for module, functions in content.items()}


def count(modules: Sequence[str]) -> str:
    """Return how many modules there are, those of each package apart."""
    parts = [f"{sum(m.split('.')[0] == package for m in modules):3} {package}" for package in PACKAGES]
    return f"{len(modules):4} = {' + '.join(parts)}"


def show(name: str, roles: Mapping[str, Seen], listed: bool) -> None:
    """Print the counts of a journey, and the modules if they are wanted."""
    everything = sorted({module for seen in roles.values() for module in seen})
    print(f"{name}: {JOURNEYS[name].what}\n  {'in all':12}{count(everything)}")
    for role, seen in roles.items():
        if len(roles) > 1:
            print(f"  {role:12}{count(sorted(seen))}")
        for module in sorted(seen) if listed else ():
            print(f"      {module:28} {', '.join(sorted(seen[module]))}")
    print(flush=True)


def main(arguments: Sequence[str]) -> int:
    """Read the command line, and make the journeys."""
    if arguments[:1] == ["--within"]:
        return within(arguments[1], Path(arguments[2]), arguments[3:])
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("journey", nargs="*", help=f"of {', '.join(JOURNEYS)}; all of them if left out")
    parser.add_argument("--list", action="store_true", help="print the modules and their functions too")
    given = parser.parse_args(arguments)
    for name in given.journey or JOURNEYS:
        if name not in JOURNEYS:
            parser.error(f"there is no journey {name}")
        with tempfile.TemporaryDirectory() as folder:
            show(name, make(name, Path(folder)), given.list)
    return 0


if __name__ == "__main__":
    with screens():
        status = main(sys.argv[1:])
    sys.exit(status)
