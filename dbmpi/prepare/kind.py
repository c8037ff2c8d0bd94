"""What a kind of input is to the command line, and what several kinds share."""

import argparse
import glob
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dbmpi.errors import UserError
from dbmpi.prepare import regular

if TYPE_CHECKING:
    from dbmpi.prepare.listing import Listing
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


def found_files(names: Sequence[str], folders: bool = False) -> list[Path]:
    """Return the files, or also `folders`, of names, some of which may be patterns.

    Raises UserError where one cannot be read.
    """
    found: list[Path] = []
    for name in names:
        there = [name] if os.path.lexists(name) else sorted(glob.glob(name, recursive=True))
        if not there:
            raise UserError(f"{name}: there is no such file")
        found += [Path(one) for one in there]
    for path in found:
        if not (folders and path.is_dir()):
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


def add_listing(parser: argparse.ArgumentParser, what: str) -> None:
    """Add which columns of a CSV list files of one kind to a parser."""
    group = parser.add_argument_group(f"columns of a CSV that lists each {what}")
    group.add_argument(
        "--path",
        metavar="NAME",
        help="of the path, from the folder of the CSV on; or where it lies, by columns: 'files/{id}.end'",
    )
    group.add_argument(
        "--label", metavar="NAME", action="append", default=[], help="of the label; again for several"
    )
    group.add_argument("--split", metavar="NAME", help="of train, validation or test")
    group.add_argument("--groups", metavar="NAME", help="whose rows of one text stay in one split")


def listing_of(given: argparse.Namespace) -> "Listing":
    """Return which columns list files."""
    from dbmpi.prepare.listing import Listing

    return Listing(given.path, given.label, given.split, given.groups)
