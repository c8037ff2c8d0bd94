"""Bring chaos over small runs, and see that each ends as promised: `python scripts/chaos [KIND ...]`.

A try is a run that something befalls: a rank is killed or stands still, the disk is full, a link is cut. Who
is met, and when, is drawn from the seed and the number of the try. It is held to the table of promised
statuses; a run that has not come to its end is gone on with, on another shape perhaps, and must end as well
as any. Each try is a line of JSON in the file --out, with the commit; the same command goes on with a series
that was ended, and files can be put together.

Besides: `report FILE ...` tells what the lines of some files come to; `table` prints the promises; `kinds`
lists the kinds. Programs of their own, each with its options: `every-call` lets each file system call fail,
`screens` takes the output away, `environments` tries odd surroundings, `owners` two jobs in one directory.
"""

import argparse
import os
import sys
import tempfile
import time
from importlib import import_module
from math import inf
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from dbmpi.screen import reported, screens
from scripts import processes
from scripts.chaos import promises, report
from scripts.chaos.jobs import Mode, Workshop
from scripts.chaos.kinds import KINDS, LAUNCHERS
from scripts.chaos.lines import Line, read
from scripts.chaos.problem import ALGORITHMS
from scripts.chaos.series import Series

SHARED = Path("/dev/shm")  # where flushing costs nothing
PROGRAMS = {
    "every-call": "calls",
    "screens": "screens",
    "environments": "environments",
    "owners": "two_jobs",
}


def parser() -> argparse.ArgumentParser:
    """Return what reads the command line."""
    form = argparse.RawDescriptionHelpFormatter
    made = argparse.ArgumentParser("scripts/chaos", description=__doc__, formatter_class=form)
    made.add_argument(
        "kinds", nargs="*", metavar="KIND", help="what befalls the runs; none: each kind in its turn"
    )
    made.add_argument(
        "--tries", type=int, default=20, help="of the whole series, earlier sittings included (20)"
    )
    made.add_argument("--seed", type=int, default=1)
    made.add_argument("--seconds", type=float, default=inf, help="no try is begun after so long")
    made.add_argument("--out", type=Path, metavar="FILE", help="where the lines are added")
    made.add_argument("--algorithm", choices=ALGORITHMS, action="append", help="all, if none is given")
    made.add_argument(
        "--launcher", choices=LAUNCHERS, action="append", help="those that there are, if none is given"
    )
    made.add_argument("--mpich", type=Path, metavar="FOLDER", help="a virtual environment with MPICH")
    made.add_argument("--only", type=int, metavar="TRY", action="append", help="these tries alone, again")
    made.add_argument(
        "--jobs", type=int, default=1, help="tries at a time, of kinds whose deadlines are long (1)"
    )
    made.add_argument("--keep", type=Path, metavar="FOLDER", help="leave the runs there")
    return made


def modes(shop: Workshop, given: argparse.Namespace) -> list[Mode]:
    """Return how runs are made; SystemExit where there is no such launcher."""
    launchers = [one for one in given.launcher or LAUNCHERS if one in shop.launchers]
    if not launchers:
        raise SystemExit(f"the launchers here are: {', '.join(shop.launchers)}")
    return [Mode(algorithm, one) for algorithm in given.algorithm or ALGORITHMS for one in launchers]


def told(line: Line) -> str:
    """Return what a try comes to, for the terminal."""
    where = " ".join(str(line.get(name, "")) for name in ("mode", "shape", "role")).strip()
    at = f" at {line['after_s']:.1f} s ({'/'.join(line.get('phases', []))})" if line.get("after_s") else ""
    ends = "/".join(str(one) for one in line.get("statuses", [line.get("status", 0)]))
    good = line["verdict"] in ("as promised", "not possible here")
    text = line["verdict"] if good else f"{line['verdict'].upper()}: {'; '.join(line['wrong'])}"
    notes = "".join(f" [{note}]" for note in line.get("notes", []))
    return f"{line['try']:4} {line['kind']}: {where}{at}: {ends}: {text}{notes} ({line['seconds']:.0f} s)"


def run(given: argparse.Namespace, folder: Path) -> int:
    """Make the tries; return 1 if one was not as promised."""
    shop = Workshop(folder, given.mpich)
    names = given.kinds or list(KINDS)
    series = Series(shop, given.out, given.seed, modes(shop, given), given.keep is not None, given.jobs)
    bad = 0
    for line in series.tries(names, given.tries, time.monotonic() + given.seconds, given.only):
        print(told(line), flush=True)
        bad += bool(line["wrong"])
    print(report.report(read([given.out]) if given.out else series.lines), flush=True)
    return 1 if bad else 0


def main(arguments: list[str]) -> int:
    """Read the command line, and do what it says; return the status."""
    name, *rest = arguments or [""]
    if name in PROGRAMS:
        return int(import_module(f"scripts.chaos.{PROGRAMS[name]}").main(rest))
    if name == "report":
        print(report.report(read([Path(path) for path in rest])))
        return 0
    if name in ("table", "kinds"):
        kinds = "".join(f"{kind:22} {found.what}\n" for kind, found in KINDS.items())
        print(promises.markdown() if name == "table" else kinds, end="")
        return 0
    form = parser()
    given = form.parse_args(arguments)
    unknown = [one for one in given.kinds if one not in KINDS]
    if unknown:
        form.error(f"there is no kind {unknown[0]}: {', '.join(KINDS)}")
    try:
        with processes.ended_in_order():
            return _in_folder(given)
    except processes.Ended as ended:
        print(f"\nscripts/chaos: {ended}; what was tried is written", file=sys.stderr)
        return ended.status


def _in_folder(given: argparse.Namespace) -> int:
    if given.keep is not None:
        given.keep.mkdir(parents=True, exist_ok=True)
        return run(given, given.keep.resolve())
    with tempfile.TemporaryDirectory(dir=SHARED if os.access(SHARED, os.W_OK) else None) as folder:
        return run(given, Path(folder))


if __name__ == "__main__":
    with screens():
        sys.exit(reported(main(sys.argv[1:])))
