"""Count the modules that a journey through the program enters: `scripts/journeys [JOURNEY ...] [--list]`.

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
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from dbmpi.screen import screens
from scripts.journeys.table import JOURNEYS, PROGRAM, Journey
from scripts.journeys.tracer import CLOSED, PACKAGES, Import, Seen, Tracer

ROOT = Path(__file__).resolve().parents[2]
ULFM = "--with-ft ulfm --mca coll ^han --mca mpi_preconnect_mpi 1 --mca mpi_yield_when_idle 1".split()
OPEN_MPI = "--oversubscribe --bind-to none --mca pml ob1 --mca btl self,sm,tcp".split()
ROOT_MAY = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
TIMEOUT_S = 120.0


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
    parser = argparse.ArgumentParser("scripts/journeys", description=__doc__, formatter_class=raw)
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
