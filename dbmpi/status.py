"""What a run is doing, in five lines, from another terminal: `python -m dbmpi.status RUN`.

It reads what the run writes, and writes nothing. See docs/progress.md.
"""

from dbmpi import imports

if __name__ == "__main__":
    imports.leave_out_working_directory()

import argparse
import os
import sys
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dbmpi.errors import STATUS_INTERRUPTED, STATUS_USER_ERROR, UserError
from dbmpi.screen import reported, screens
from dbmpi.text import one_line

if TYPE_CHECKING:
    from dbmpi.logs.run import RunLog

PROGRAM = "python -m dbmpi.status"
EPILOG = """\
exit status: 0: it runs, or has come to its end; 2: no run is there, or a mistake in the command line; else
that of its last job (85: stopped, 3: diverged), or 1 where nobody has said one, as its process is gone or
its lease has run out
"""
WATCH_S, COLUMNS, INDENT = 2.0, 80, 10
LAST_BYTES = 1 << 20  # of the records, of a run that goes on
WHOLE = "learning", "rate"  # what only all records show


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line, and return the exit status."""
    given = _parser().parse_args(argv)
    try:
        return _show(given.run_dir) if given.watch is None else _watch(given.run_dir, given.watch)
    except UserError as error:
        print(f"dbmpi: error: {one_line(error)}", file=sys.stderr)
        return STATUS_USER_ERROR
    except KeyboardInterrupt:
        return STATUS_INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Say in five lines what a run is doing: state, roles, progress, health, last events.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run_dir", metavar="RUN", type=Path, help="run directory")
    parser.add_argument("--watch", metavar="S", nargs="?", type=_seconds, const=WATCH_S,
        help=f"say it again every S seconds ({WATCH_S:g}) while the run goes on")  # fmt: skip
    return parser


def _seconds(text: str) -> float:
    """Return a number of seconds. Raises ValueError, which argparse tells."""
    seconds = float(text)
    if not 0.1 <= seconds <= 86_400:
        raise argparse.ArgumentTypeError(f"{text}: give 0.1 to 86400 seconds")
    return seconds


def _show(path: Path) -> int:
    """Print the lines; return the status."""
    said, status, _ = _look(path)
    sys.stdout.write("".join(f"{line}\n" for line in said))
    return status


def _watch(path: Path, every_s: float) -> int:
    """Print the lines again and again, until the run goes on no more; return the status."""
    above = 0
    while True:
        said, status, runs = _look(path)
        above = _print(said, above)
        if not runs:
            return status
        time.sleep(every_s)


def _look(path: Path) -> tuple[list[str], int, bool]:
    """Return what there is to say of a run, the status, and whether it goes on."""
    from dbmpi.logs.brief import lines
    from dbmpi.logs.run import open_run
    from dbmpi.logs.state import state_of

    run = open_run(path, LAST_BYTES)
    state = state_of(run)
    if not state.runs:  # how it ended may be told by earlier records, too
        run = open_run(path)
        state = state_of(run)
    said = lines(run, state, _alarm(run, state.runs))
    problems = [f"problem   {one_line(problem)}" for problem in run.problems]
    return [*said, *problems], state.status, state.runs


def _alarm(run: "RunLog", in_part: bool) -> str:
    """Return the worst of what has to be done something about; nothing where nothing has.

    Whether a run learns is not judged `in_part`, by its last records alone.
    """
    from dbmpi.diagnosis.verdict import findings

    found = (one for one in findings(run) if one.alarms and not (in_part and one.about in WHOLE))
    return next((f"{one.severity}: {one.text}" for one in found), "")


def _print(said: Sequence[str], above: int) -> int:
    """Print lines that come again, on a terminal over so many others; return how many to print over next."""
    drawn = sys.stdout.isatty()
    if drawn:
        columns = os.get_terminal_size(sys.stdout.fileno()).columns or COLUMNS
        said = [row for line in said for row in _rows(line, columns - 1)]
    sys.stdout.write((f"\x1b[{above}A\x1b[J" if above else "") + "".join(f"{line}\n" for line in said))
    sys.stdout.flush()
    return len(said) if drawn else 0


def _rows(line: str, columns: int) -> list[str]:
    """Return a line as rows that a window has room for: those below the first stand under its text."""
    from dbmpi.output.view import cut

    rows = textwrap.wrap(line, max(columns, 2 * INDENT), subsequent_indent=" " * INDENT)
    return [cut(row, columns) for row in rows]


if __name__ == "__main__":
    with screens():
        imports.settle(os.environ)
        status = reported(main())
    sys.exit(status)
