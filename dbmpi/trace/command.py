"""`python -m dbmpi.trace RUN`: the trace of a run as a file for ui.perfetto.dev, and where its time went.

Status 0: it is written; 2: there is none, or a mistake in the command line.
"""

import argparse
import gzip
import sys
from collections.abc import Sequence
from pathlib import Path

from dbmpi.errors import STATUS_OK, STATUS_USER_ERROR, UserError
from dbmpi.ownership.placed import check, placed
from dbmpi.text import one_line, plain, several
from dbmpi.trace.files import Job, open_job
from dbmpi.trace.table import Share, table
from dbmpi.trace.writing import Window, look, write

PROGRAM = "python -m dbmpi.trace"
ERROR_SHOWN_S = 1e-9
PERFETTO, CHROME = "trace.pftrace", "trace.json.gz"
BEGINS = b"\n", b"\x1f\x8b"  # of files in these formats


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line, and return the exit status."""
    given = _parser().parse_args(argv)
    try:
        job = open_job(given.run_dir, given.job)
        out = given.output or given.run_dir / (CHROME if given.json else PERFETTO)
        check(out, BEGINS, "trace")
        window, shares = look(job)
        _write(job, window, out, given.json)
    except UserError as error:
        print(f"dbmpi: error: {one_line(error)}", file=sys.stderr)
        return STATUS_USER_ERROR
    for line in (*_told(job, window, out), "", *table(shares), "", *_explained(shares)):
        print(line)
    for problem in job.problems:
        print(f"dbmpi: warning: {one_line(problem)}", file=sys.stderr)
    return STATUS_OK


def _parser() -> argparse.ArgumentParser:
    description = (
        "Write the trace of a run (output.trace = true) as one file, and print where the time of each rank "
        "went. https://ui.perfetto.dev opens the file; it stays on your computer."
    )
    parser = argparse.ArgumentParser(prog=PROGRAM, description=description)
    parser.add_argument("run_dir", metavar="RUN", type=Path, help="run directory")
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        type=Path,
        help=f"where to write; default: RUN/{PERFETTO} or RUN/{CHROME}",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="write gzipped JSON as Chrome has it, which needs no further package",
    )
    parser.add_argument(
        "--job", metavar="N", type=int, help="the trace of job N of the run; default: the last"
    )
    return parser


def _write(job: Job, window: Window, out: Path, json: bool) -> None:
    """Write the file, whole or not at all. Raises UserError."""
    if json:
        from dbmpi.trace.chrome_file import ChromeFile

        with placed(out) as path, gzip.open(path, "wt", compresslevel=4, encoding="utf-8") as text:
            chrome = ChromeFile(text)
            write(job, window, chrome)
            chrome.close()
        return
    try:
        from dbmpi.trace.perfetto_file import PerfettoFile
    except UserError as error:
        raise UserError(f"{error}; or give --json, which needs no package") from None
    with placed(out) as path, path.open("wb") as file:
        write(job, window, PerfettoFile(file))


def _told(job: Job, window: Window, out: Path) -> list[str]:
    """Return what there is: the file, the window, what is not in it, and how well clocks agree."""
    kept, dropped = (sum(getattr(file, name) for file in job.files) for name in ("kept", "dropped"))
    lines = [
        f"{out}: open it at https://ui.perfetto.dev",
        f"job {job.number}: {several(len(job.files), 'rank')}, {kept:,} records over {window.seconds:.2f} s",
    ]
    if dropped:
        full = several(sum(file.dropped > 0 for file in job.files), "rank")
        lines += [
            f"dropped: {dropped:,} older records: {full} had no more memory (output.trace_mib = {_mib(job)})",
            f"whole: the last {window.whole_seconds:.2f} s, of all ranks",
        ]
    else:
        lines.append("dropped: nothing")
    error = max(file.error_s for file in job.files)
    if error > ERROR_SHOWN_S:
        lines.append(f"clocks of hosts: agree to {1e6 * error:.1f} us")
    return lines


def _mib(job: Job) -> str:
    return plain(str(job.files[0].header.get("mib", "?")))


def _explained(shares: Sequence[Share]) -> list[str]:
    """Return what the columns of the table are."""
    waits = any(one.waits_s for one in shares)
    return [
        "computes: orders, requests, commands and reports, without the waits in them",
        *(
            ["the columns after it: waits, by what for; rest: nothing to do, or not recorded"]
            if waits
            else []
        ),
    ]
