"""The command line of `python -m dbmpi.prepare`: a kind of input, its options, and those of all kinds."""

import argparse
import os
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from dbmpi.errors import STATUS_INTERRUPTED, STATUS_OK, STATUS_USER_ERROR, UserError
from dbmpi.imports import unloadable
from dbmpi.prepare.kind import Kind, whole
from dbmpi.prepare.kinds import KINDS
from dbmpi.text import one_line, plain

PROGRAM = "python -m dbmpi.prepare"
DEFAULT_TEST_FRACTION = 0.1
LARGEST_SEED = 2**63 - 1


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line, and return the exit status: 0, 2 for wrong input, 130 when interrupted."""
    argv = sys.argv[1:] if argv is None else argv
    given = _parse(argv)
    try:
        with _stopped_by_signals(given.out):
            print(_prepare(given, argv))
    except (UserError, OSError) as error:  # a folder that may not be read
        return _refused(str(error))
    except MemoryError as error:
        return _refused(f"{given.out}: is not written: memory runs out ({error}); give it more (ulimit -v)")
    except ImportError as error:
        problem = unloadable(error)
        if problem is None:
            raise
        return _refused(problem)
    return STATUS_OK


@contextmanager
def _stopped_by_signals(out: Path) -> Iterator[None]:
    """Let signals end this process, and what it has begun, at once.

    An exception would not do: within what HDF5 calls of Python it would be lost, and the process crash.
    """

    def end(*_: object) -> NoReturn:
        import multiprocessing

        from dbmpi.prepare import unfinished

        for process in multiprocessing.active_children():
            process.kill()
        left = unfinished.remove()
        print(f"dbmpi: interrupted{f'; {plain(str(out))} is not written' if left else ''}", file=sys.stderr)
        sys.stderr.flush()
        os._exit(STATUS_INTERRUPTED)

    before = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    for one, handler in before.items():
        if handler != signal.SIG_IGN:  # as by nohup
            signal.signal(one, end)
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler or signal.SIG_DFL)


def _refused(problem: str) -> int:
    print(f"dbmpi: error: {one_line(problem)}", file=sys.stderr)
    return STATUS_USER_ERROR


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    """Read the command line: the kind first, then files and options of that kind, in any order."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Write a data file for dbmpi.train from files of your own.",
        epilog="kinds:\n" + "\n".join(f"  {name:8} {kind.summary}" for name, kind in KINDS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage=f"{PROGRAM} KIND FILES ... OUT.h5 [options], or {PROGRAM} KIND --help",
    )
    parser.add_argument("kind", choices=KINDS, metavar="KIND", help="what the files are")
    name = parser.parse_args(argv[:1]).kind
    given = _parser_of(name, KINDS[name]).parse_intermixed_args(argv[1:])
    given.kind = name
    return given


def _parser_of(name: str, kind: Kind) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"{PROGRAM} {name}",
        description=kind.description,
        epilog=f"example:\n  {PROGRAM} {name} {kind.example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    kind.add_arguments(parser)
    parser.add_argument("out", metavar="OUT.h5", type=Path, help="data file to write")
    _add_common(parser)
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    common = parser.add_argument_group("options of all kinds")
    common.add_argument(
        "--seed", type=whole(0, LARGEST_SEED), default=1, help="draws order and splits (default 1)"
    )
    common.add_argument("--keep-order", action="store_true", help="write the rows in the order of the files")
    common.add_argument(
        "--test-fraction",
        metavar="F",
        type=_fraction,
        help=f"share of the rows for the split test (if the files have none, {DEFAULT_TEST_FRACTION})",
    )
    common.add_argument(
        "--validation-fraction",
        metavar="F",
        type=_fraction,
        default=0.0,
        help="the same for validation (default 0)",
    )
    common.add_argument(
        "--scaling",
        choices=("none", "columns", "all"),
        default="none",
        help="standardize x by the training rows: each column, or all together (none; see data.scaling)",
    )
    common.add_argument("--gzip", action="store_true", help="compress: smaller on disk, slower to read")
    common.add_argument("--replace", action="store_true", help="replace OUT.h5 if it is there")
    common.add_argument(
        "--source", metavar="TEXT", default="", help="where the data come from, for the file to say"
    )
    common.add_argument("--licence", metavar="TEXT", default="", help="their licence, for the file to say")


def _fraction(text: str) -> float:
    """Read a share of the rows."""
    number = float(text)
    if not 0 <= number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not from 0 to below 1")
    return number


def _prepare(given: argparse.Namespace, argv: Sequence[str]) -> str:
    """Write the file, and return the summary of what is in it."""
    from dbmpi.prepare.progress import Progress
    from dbmpi.prepare.summary import summary
    from dbmpi.prepare.writer import Options, write

    source = KINDS[given.kind].source(given)
    notes = {
        "source": given.source or ", ".join(map(str, source.files)),
        "licence": given.licence,
        "command": _command(argv),
    }
    options = Options(
        fractions=_fractions(given, set(source.expected)),
        seed=given.seed,
        keep_order=given.keep_order,
        scaling=given.scaling,
        compression="gzip" if given.gzip else None,
        replace=given.replace,
        notes={name: text for name, text in notes.items() if text},
    )
    write(given.out, source, options, Progress())
    return summary(given.out)


def _command(argv: Sequence[str]) -> str:
    return f"{PROGRAM} {shlex.join(argv)}"


def _fractions(given: argparse.Namespace, there: set[str]) -> dict[str, float]:
    """Return the splits that are to be cut from the training rows."""
    asked = {"test": given.test_fraction, "validation": given.validation_fraction or None}
    for name, fraction in asked.items():
        if fraction and name in there:
            raise UserError(
                f"--{name}-fraction {fraction}: the files have a split {name} already; leave it out"
            )
    if given.test_fraction is None and "test" not in there:
        asked["test"] = DEFAULT_TEST_FRACTION
    found = {name: fraction for name, fraction in asked.items() if fraction}
    if sum(found.values()) >= 1:
        given_ones = " and ".join(f"--{name}-fraction {fraction}" for name, fraction in found.items())
        raise UserError(f"{given_ones}: leave no row to train with; cut less")
    return found
