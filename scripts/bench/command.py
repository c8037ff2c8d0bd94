"""Measure dbmpi beside PyTorch, raw MPI, BLAS and memory: `python scripts/bench [PART ...] [options]`.

Without a part it takes all of them, in under half an hour on two cores; one takes under two minutes. It
prints a table, and writes a JSON file. Each figure is a median, with the least and the most; each ratio is
that of figures that were taken in turns, round by round. PyTorch and SciPy are the extra "bench"; rows that
want something that is not installed are skipped, and say so.

The JSON file: `schema` 1; `started`; `options`; `environment` (`scripts.bench.machine`); `load`, the busy
processes beside; and `parts`, each with `name`, `what`, `status` (measured, failed), `why`, `seconds`,
`rounds` and `rows`. A row has `group`, `name`, `unit`, `status` (measured, skipped, failed), `why`, `aim`
(`at_least` or `at_most`, or null); if measured also `figure` (`name`, `median`, `least`, `most`, `values`),
and where it is compared `against`, which is like it, `ratio` without a name, and `met`: whether its median is
as the aim says.
"""

import argparse
import importlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scripts import dispatch, processes
from scripts.bench import core, machine, table
from scripts.launcher import ROOT

HERE = Path(__file__).resolve().parent
ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OPENBLAS", "MKL", "OMP", "NUMBA")}
IN_PROCESS = ("step", "lbfgs", "kernels", "spatial")  # parts that compute themselves: on one thread
AS_PART = "--as-part"
# In this order: what is asked most comes first.
PARTS = ("accuracy", "step", "threads", "partitions", "transport", "boundary", "data", "start", "memory",
         "downpour", "sandblaster", "checkpoints", "lbfgs", "kernels", "spatial")  # fmt: skip
ROUNDS = 3  # of a part that does not say
SCHEMA = 1


def main(arguments: Sequence[str]) -> int:
    """Read the command line, measure, print and write; return the status: 1 if a part has failed."""
    if arguments[:1] == [AS_PART]:
        return be_part(*arguments[1:])
    given = parse(arguments)
    with tempfile.TemporaryDirectory() as folder, machine.busy(given.load):
        return measure(given, Path(folder))


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return what the command line says."""
    listing = "\n".join(f"  {name:12} {what(name)}" for name in PARTS)
    form = argparse.RawDescriptionHelpFormatter
    about = f"{(__doc__ or '').partition('The JSON')[0]}parts:\n{listing}"
    parser = argparse.ArgumentParser(prog="scripts/bench", description=about, formatter_class=form)
    parser.add_argument("parts", nargs="*", metavar="PART", help="parts to measure (default: all)")
    parser.add_argument("--out", type=Path, default=Path("bench.json"), help="the JSON file (bench.json)")
    parser.add_argument("--rounds", type=int, help=f"rounds of each part (default {ROUNDS}, of kernels more)")
    parser.add_argument(
        "--seconds", type=float, default=100, help="begin no round of a part that would end later (100)"
    )
    parser.add_argument("--load", type=int, default=0, help="busy processes beside (default 0)")
    parser.add_argument("--data", type=Path, help="HDF5 file of 28 x 28 images and 10 classes, as MNIST")
    parser.add_argument("--target", type=float, default=0.974, help="of accuracy: to be reached (0.974)")
    parser.add_argument("--examples", type=int, default=180_000, help="of accuracy: learned from (180000)")
    parser.add_argument("--only", default="", help="groups of rows whose name contains this")
    given = parser.parse_args(arguments)
    unknown = [name for name in given.parts if name not in PARTS]
    if unknown:
        parser.error(f"there is no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    if given.data is not None and not given.data.is_file():
        parser.error(f"--data {given.data}: there is no such file")
    return given


def what(part: str) -> str:
    """Return the first line of a part's docstring; it is not imported."""
    return dispatch.first_line(HERE / "parts" / f"{part}.py")


def measure(given: argparse.Namespace, folder: Path) -> int:
    """Measure each part in a process of its own, print it, and write all there is so far."""
    record: dict[str, Any] = {
        "schema": SCHEMA,
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "options": {name: str(value) for name, value in vars(given).items()},
        "environment": machine.describe(),
        "load": given.load,
        "parts": [],
    }
    print(
        machine.text(record["environment"]), *([f"busy beside: {given.load}"] if given.load else []), sep="\n"
    )
    print(f"\n{table.head()}", flush=True)
    for name in given.parts or PARTS:
        record["parts"].append(measure_part(name, given, folder))
        print("\n".join(table.lines(record["parts"][-1])), flush=True)
        given.out.write_text(json.dumps(record, indent=1) + "\n")
    print(f"\n{given.out.resolve()}")
    return int(any(part["status"] == "failed" for part in record["parts"]))


def measure_part(name: str, given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Measure one part in a process of its own, which ends with its threads, memory and failures."""
    own, started = folder / name, time.monotonic()
    own.mkdir(exist_ok=True)
    asked = {key: getattr(given, key) for key in ("rounds", "seconds", "target", "examples", "only")}
    asked |= {"folder": str(own), "data": given.data and str(given.data.resolve())}
    out = own / "part.json"
    command = [sys.executable, str(HERE), AS_PART, name, json.dumps(asked), str(out)]
    changes: dict[str, str | None] = dict.fromkeys(machine.FORCED)
    changes |= ONE_THREAD if name in IN_PROCESS else {}
    changes["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    done = processes.run(command, timeout_s=5 * given.seconds + 200, env=changes, cwd=own)
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
    given |= {"folder": Path(given["folder"]), "data": given["data"] and Path(given["data"])}
    options = core.Options(**given)
    module = importlib.import_module(f"scripts.bench.parts.{name}")
    groups = [group for group in module.groups(options) if options.only in group.name]
    most: int = getattr(module, "ROUNDS", ROUNDS) if options.rounds is None else options.rounds
    Path(out).write_text(json.dumps(core.measure(groups, most, options.seconds, started=started)))
    return 0
