"""What a kind of input is to the command line, and what several kinds share."""

import argparse
import glob
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dbmpi.errors import UserError
from dbmpi.prepare import regular

if TYPE_CHECKING:
    from dbmpi.prepare.source import Source


MOST_JOBS = 256  # each takes some 50 MB


@dataclass(frozen=True)
class Kind:
    """One kind.

    Attributes
    ----------
    summary, description, example
        For `--help`; the example is what follows the kind on the command line.
    add_arguments
        Adds its arguments to a parser: `files`, and options.
    source
        Makes the source of what was given. Raises UserError.
    """

    summary: str
    description: str
    example: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    source: Callable[[argparse.Namespace], "Source"]


def found_files(names: Sequence[str]) -> list[Path]:
    """Return the files of names, some of which may be patterns. Raises UserError where one cannot be read."""
    found: list[Path] = []
    for name in names:
        there = [name] if os.path.lexists(name) else sorted(glob.glob(name, recursive=True))
        if not there:
            raise UserError(f"{name}: there is no such file")
        found += [Path(one) for one in there]
    for path in found:
        regular.check(path)
    return found


def whole(least: int, most: int) -> Callable[[str], int]:
    """Return what reads a whole number in a range from the command line."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if not least <= number <= most:
            raise argparse.ArgumentTypeError(f"{text[:40]} is no whole number from {least} to {most}")
        return number

    return read


def add_jobs(parser: argparse.ArgumentParser) -> None:
    """Add the number of processes to a parser."""
    parser.add_argument(
        "--jobs", metavar="N", type=whole(1, MOST_JOBS), help="processes that read (one for each core)"
    )


def jobs(given: argparse.Namespace) -> int:
    """Return how many processes are to read."""
    from dbmpi.prepare.pool import usable_cores

    return given.jobs or min(usable_cores(), MOST_JOBS)


@contextmanager
def extra(package: str) -> Iterator[None]:
    """Say how to install what only one kind needs."""
    try:
        yield
    except ImportError as error:
        raise UserError(f"this kind needs {package} ({error}): pip install 'dbmpi[prepare]'") from error
