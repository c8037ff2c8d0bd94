"""What a kind of input is to the command line, and what several kinds share."""

import argparse
import glob
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dbmpi import extras
from dbmpi.errors import UserError

if TYPE_CHECKING:
    from dbmpi.prepare.source import Source


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
    """Return the files of names, some of which may be patterns. Raises UserError where there is none."""
    found = []
    for name in names:
        there = [name] if Path(name).exists() else sorted(glob.glob(name, recursive=True))
        if not there:
            raise UserError(f"{name}: there is no such file")
        found += there
    return [Path(name) for name in found]


def add_jobs(parser: argparse.ArgumentParser) -> None:
    """Add the number of processes to a parser."""
    parser.add_argument("--jobs", metavar="N", type=int, help="processes that read (one for each core)")


def jobs(given: argparse.Namespace) -> int:
    """Return how many processes are to read."""
    from dbmpi.prepare.pool import usable_cores

    return max(1, given.jobs or usable_cores())


def extra(package: str) -> AbstractContextManager[None]:
    """Say how to install what only one kind needs."""
    return extras.extra(package, "prepare")
