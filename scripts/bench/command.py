"""Measure dbmpi beside PyTorch, raw MPI, BLAS and memory: `python scripts/bench [PART ...] [options]`.

Without a part it takes all of them, in about an hour on two cores. Most take under two minutes, or as long as
--seconds and --rounds say; `rules`, `defaults` and `sets` take a quarter of an hour each: --only takes some
groups. It prints a table, and writes a JSON file. Each figure is a median, or where accuracies are compared a
mean, with the least and the most; each ratio is that of figures that were taken in turns, round by round.
PyTorch, SciPy and the tables are the extra "bench"; rows that want something that is not installed are
skipped, and say so.

The JSON file, whole after every part: `schema` 1; `started`; `options`, null for what is not said;
`environment` (`scripts.bench.machine`); `load`, the busy processes beside; and `parts`, each with `name`,
`what`, `status` (measured, failed), `why`, `seconds`, `rounds` and `rows`. A row has `group`, `name`, `unit`,
`status` (measured, skipped, failed), `why`, `aim` (`at_least` or `at_most`, or null), `by` (median, or mean:
what counts of several rounds); if measured also `figure` (`name`, `median`, `mean`, `least`, `most`,
`values`), and where it is compared `against`, which is like it, `ratio` without a name, and `met`: whether
the ratio, or the figure of a row that stands alone, is as the aim says. The status is 1 if a part or a row
has failed.
"""

import argparse
import contextlib
import importlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scripts import processes
from scripts.bench import core, look, machine, record, rounds, table
from scripts.bench.arguments import AS_LOOK, HERE, ROUNDS, parse, what
from scripts.launcher import ROOT

ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OPENBLAS", "MKL", "OMP", "NUMBA")}
IN_PROCESS = (
    "defaults",
    "sets",
    "step",
    "lbfgs",
    "kernels",
    "spatial",
)  # parts that compute themselves: on one thread
AS_PART = "--as-part"
PATHS = "data", "recordings"  # options that are files or folders
LONGEST_S = 2400  # of one round of a part
SCHEMA = 1


def main(arguments: Sequence[str]) -> int:
    """Do what the command line says; return the status: 1 if a part or a row has failed, 128 + its number
    after a signal."""
    try:
        with processes.ended_in_order():
            return start(arguments)
    except processes.Ended as ended:
        return said(f"{ended}; the parts that had been measured are in the file of --out", ended.status)
    except OSError as error:
        return said(str(error), 1)


def said(text: str, status: int) -> int:
    """Say in one line why the program ends; return the status."""
    with contextlib.suppress(OSError):  # the terminal may be gone
        print(f"scripts/bench: {text}", file=sys.stderr, flush=True)
    return status


def start(arguments: Sequence[str]) -> int:
    """Measure, print and write, or do the work of a child; return the status."""
    if arguments[:1] == [AS_PART]:
        return be_part(*arguments[1:])
    if arguments[:1] == [AS_LOOK]:
        return look.main(*arguments[1:])
    given = parse(arguments, (__doc__ or "").partition("The JSON")[0])
    with tempfile.TemporaryDirectory() as folder, machine.busy(given.load):
        return measure(given, Path(folder))


def measure(given: argparse.Namespace, folder: Path) -> int:
    """Measure each part in a process of its own, print it, and write all there is so far."""
    found: dict[str, Any] = {
        "schema": SCHEMA,
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "options": {
            name: str(value) if isinstance(value, Path) else value for name, value in vars(given).items()
        },
        "environment": machine.describe(),
        "load": given.load,
        "parts": [],
    }
    print(
        machine.text(found["environment"]), *([f"busy beside: {given.load}"] if given.load else []), sep="\n"
    )
    print(f"\n{table.head()}", flush=True)
    for name in given.parts:
        found["parts"].append(measure_part(name, given, folder))
        print("\n".join(table.lines(found["parts"][-1])), flush=True)
        record.write(given.out, found)
    print(f"\n{given.out.resolve()}")
    return int(any(one["status"] == "failed" for part in found["parts"] for one in (part, *part["rows"])))


def measure_part(name: str, given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Measure one part in a process of its own, which ends with its threads, memory and failures."""
    own, started = folder / name, time.monotonic()
    own.mkdir(exist_ok=True)
    asked = {key: getattr(given, key) for key in ("rounds", "seconds", "target", "examples", "seed", "only")}
    asked |= {"folder": str(own)}
    asked |= {key: (path := getattr(given, key)) and str(path.resolve()) for key in PATHS}
    out = own / "part.json"
    command = [sys.executable, str(HERE), AS_PART, name, json.dumps(asked), str(out)]
    changes: dict[str, str | None] = dict.fromkeys(machine.FORCED)
    changes |= ONE_THREAD if name in IN_PROCESS else {}
    changes["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    done = processes.run(command, timeout_s=5 * given.seconds + LONGEST_S, env=changes, cwd=own)
    part = {"name": name, "what": what(name), "status": "measured", "why": "", "rows": []}
    if done.status == 0 and out.exists():
        part |= json.loads(out.read_text())
    else:
        said = (done.err.strip() or done.out.strip()).splitlines()[-5:]
        ended = "timed out" if done.timed_out else f"status {done.status}"
        part |= {"status": "failed", "why": " | ".join([ended, *said])}
    return part | {"seconds": time.monotonic() - started}


def be_part(name: str, asked: str, out: str) -> int:
    """Measure a part in this process, and write its rounds and rows."""
    started, given = time.monotonic(), json.loads(asked)
    given |= {key: given[key] and Path(given[key]) for key in ("folder", *PATHS)}
    options = core.Options(**given)
    module = importlib.import_module(f"scripts.bench.parts.{name}")
    groups = [group for group in module.groups(options) if options.wants(group.name)]
    most: int = getattr(module, "ROUNDS", ROUNDS) if options.rounds is None else options.rounds
    Path(out).write_text(json.dumps(rounds.measure(groups, most, options.seconds, started=started)))
    return 0
