"""What the command lines of evaluate and predict have in common. Without numpy."""

import argparse
import os
from collections.abc import Sequence
from typing import NoReturn

from dbmpi.config.schema import MOST_RANKS
from dbmpi.errors import UserError
from dbmpi.run.start.cli import print_and_leave
from dbmpi.text import plain

MODEL = (
    "a model.h5, a .safetensors file of dbmpi.export, a checkpoint (RUN/checkpoints/000042) or a run "
    "directory (its model.h5, else its best checkpoint)"
)
STATUSES = """
exit status: 0 done; 1 failed, as where a rank dies; 2 a mistake in the command line, the model or the data;
85 stopped by a signal; 130 interrupted
"""


class Parser(argparse.ArgumentParser):
    """A parser whose errors can be printed once for all ranks."""

    def error(self, message: str) -> NoReturn:
        """Raise UserError."""
        raise UserError(f"command line: {plain(message)}; see {self.prog} --help")


def parser(name: str, description: str, epilog: str) -> Parser:
    """Return a parser with the arguments of both commands but for the files."""
    made = Parser(
        prog=f"python -m dbmpi.{name}",
        description=description,
        epilog=epilog + STATUSES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
        allow_abbrev=False,
    )
    add = made.add_argument
    add("model", metavar="MODEL", help=MODEL)
    add(
        "--split", choices=("train", "validation", "test"), help="which rows of a file that has splits (test)"
    )
    add("--header", action=argparse.BooleanOptionalAction, help="the first line of a table names its "
        "columns, or (--no-header) is a row, too; to be said where it has numbers (names)")  # fmt: skip
    add("--partitions", metavar="P", type=_count,
        help="ranks that each replica of the model is split over (1, unless it does not fit into a node's "
        "memory); under mpirun the ranks are replicas x P")  # fmt: skip
    add("--threads", metavar="N", type=_count, help="of each rank (its share of the node's cores)")
    add("-h", "--help", action="store_true", help="show this text, and leave")
    return made


def parse(made: Parser, argv: Sequence[str]) -> argparse.Namespace:
    """Read a command line; --help prints on one rank only, and leaves. Raises UserError for a mistake."""
    if any(word in ("-h", "--help") for word in argv):
        print_and_leave(made.format_help(), os.environ)
    given = made.parse_intermixed_args(argv)
    given.words = tuple(argv)
    return given


def _count(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) < 10 and 0 < int(text) <= MOST_RANKS:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text[:20]!r} is no number from 1 to {MOST_RANKS}")
