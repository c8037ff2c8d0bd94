"""Starts the jobs of a run, on a shape, under a launcher, and with what a kind of fault needs."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dbmpi.run.start.starting import START
from scripts import launcher, processes
from scripts.chaos import problem
from scripts.chaos.shapes import Shape
from scripts.launcher import NO_LAUNCHER

FT = "--with-ft ulfm --mca coll ^han --mca mpi_preconnect_mpi 1 --mca mpi_yield_when_idle 1".split()
START_S = 12  # for MPI to start, longer than a rank may stand still: those whose peer died then wait so long
LIMIT_S = START_S + 150.0  # of a job: what takes longer hangs
During = Callable[[Callable[[], list[int]]], None]


@dataclass(frozen=True)
class Mode:
    """How a run is made: by which algorithm, under which launcher, as the table of promises calls it."""

    algorithm: str
    launcher: str

    def __str__(self) -> str:
        return f"{self.algorithm} {self.launcher}"


@dataclass(frozen=True)
class Surroundings:
    """What a job is started in.

    Parameters
    ----------
    words
        Before the program, on every rank.
    flags
        For the launcher.
    around
        Before the launcher.
    settings
        For --set.
    """

    words: Sequence[str] = ()
    flags: Sequence[str] = ()
    around: Sequence[str] = ()
    settings: Sequence[str] = ()


PLAIN = Surroundings()


@dataclass
class Workshop:
    """A folder with the data, in which jobs are made; SystemExit where there is no MPI.

    `mpich` is a virtual environment with that MPI, where this program's has another. `launchers` has the
    environment of each launcher that there is.
    """

    folder: Path
    mpich: Path | None = None
    launchers: dict[str, launcher.Environment] = field(init=False)

    def __post_init__(self) -> None:
        found = launcher.this_environment()
        if found is None:
            raise SystemExit("needs an MPI: no mpiexec in this environment or on the PATH")
        self.launchers = dict.fromkeys(("plain", "ulfm") if found.mpi == "openmpi" else ("mpich",), found)
        if self.mpich is not None:
            self.launchers["mpich"] = launcher.Environment("mpich", self.mpich.resolve())
        self.data = self.folder / "data.h5"
        if not self.data.exists():
            problem.write(self.data)

    def run(
        self,
        mode: Mode,
        shape: Shape,
        run_dir: Path,
        more: Sequence[str] = (),
        around: Surroundings = PLAIN,
        during: During | None = None,
    ) -> processes.Finished:
        """Make one job of a run, to its end; `more` are settings. SystemExit if mpirun cannot start."""
        environment = self.launchers[mode.launcher]
        settings = [f"data.path={self.data}", *problem.COMMON, *problem.ALGORITHMS[mode.algorithm]]
        settings += [*shape.settings, *around.settings, *more]
        program = [*around.words, str(environment.python), "-m", "dbmpi.train"]
        program += ["--run-dir", str(run_dir), "--set", *settings]
        started = environment.mpiexec(shape.ranks)
        command = [
            *around.around,
            started[0],
            *(FT if mode.launcher == "ulfm" else []),
            *around.flags,
            *started[1:],
            *program,
        ]
        env = {"PYTHONPATH": str(launcher.ROOT), **environment.variables(), **self._own_places()}
        env[START] = str(START_S)
        done = processes.run(command, timeout_s=LIMIT_S, env=env, cwd=self.folder, during=during)
        if NO_LAUNCHER in done.err:
            raise SystemExit(f"mpirun: {NO_LAUNCHER}")
        return done

    def _own_places(self) -> dict[str, str]:
        """Let what killed ranks leave lie in the folder, and not in the machine's shared memory."""
        return {"OMPI_MCA_btl_sm_backing_directory": str(self.folder)}


def records(run_dir: Path) -> list[dict[str, Any]]:
    """Return the whole records of metrics.jsonl."""
    path, found = run_dir / "metrics.jsonl", []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            found.append(json.loads(line))
        except ValueError:  # it is being written
            continue
    return found


def summary(run_dir: Path) -> dict[str, Any]:
    """Return summary.json; nothing where it is not there."""
    path = run_dir / "summary.json"
    return json.loads(path.read_text()) if path.exists() else {}
