"""The command line of `python -m dbmpi.report`: runs, and the page that shows them."""

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from dbmpi.errors import STATUS_INTERRUPTED, STATUS_OK, STATUS_USER_ERROR, UserError
from dbmpi.text import one_line

PROGRAM = "python -m dbmpi.report"
WATCH_S, SHORTEST_S = 10.0, 1.0
OUTPUT = "report.html"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line, and return the exit status: 0, 2 for wrong input, 130 when interrupted."""
    given = _parse(argv)
    for one in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(one) != signal.SIG_IGN:  # as by nohup
            signal.signal(one, signal.default_int_handler)
    out = given.output or (given.runs[0] / OUTPUT if len(given.runs) == 1 else Path(OUTPUT))
    try:
        from dbmpi.report.writing import Asked, report

        report(Asked(given.runs, out, given.csv, given.watch or 0.0))
    except UserError as error:
        print(f"dbmpi: error: {one_line(error)}", file=sys.stderr)
        return STATUS_USER_ERROR
    except KeyboardInterrupt:
        print("dbmpi: interrupted", file=sys.stderr)
        return STATUS_INTERRUPTED
    return STATUS_OK


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Write a page of what a run did, or how several compare: one HTML file that needs "
        "no network. A run may go on, have failed, or be of an older version.",
    )
    parser.add_argument("runs", metavar="RUN", type=Path, nargs="+", help="a run directory")
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        type=Path,
        help=f"the page (default: RUN/{OUTPUT}; of several runs ./{OUTPUT})",
    )
    parser.add_argument(
        "--csv", metavar="DIR", type=Path, help="also write the records there, a CSV file for each kind"
    )
    parser.add_argument(
        "--watch",
        metavar="S",
        type=_seconds,
        nargs="?",
        const=WATCH_S,
        help=f"write it anew every S seconds ({WATCH_S:g}) until the runs have come to their ends; the "
        "open page reads itself again",
    )
    return parser.parse_args(argv)


def _seconds(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not SHORTEST_S <= found <= 86400:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no number of seconds from {SHORTEST_S:g} to 86400; RUN comes before --watch"
        )
    return found
