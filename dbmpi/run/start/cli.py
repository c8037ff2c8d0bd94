"""The command line of `python -m dbmpi.train`, read without MPI and without numpy."""

import argparse
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import fill
from typing import NoReturn

from dbmpi import __version__
from dbmpi.config.schema import DEFAULT_FILE, MOST_RANKS
from dbmpi.errors import STATUS_OK, STATUSES, UserError
from dbmpi.run.start.launch import speaks
from dbmpi.screen import reported
from dbmpi.text import close, has_control, plain, show

PROGRAM = "python -m dbmpi.train"
EXAMPLES = f"""\
examples:
  mpirun -n 8 {PROGRAM}
      train the embedded digits on 8 ranks: a coordinator, a shard, 6 replicas
  mpirun -n 64 {PROGRAM} run.toml --set train.epochs=8 cluster.shards=4
      train what run.toml describes, with two of its values replaced
  {PROGRAM} run.toml
      train in this one process, without mpirun
  {PROGRAM} run.toml --set model.layers.0.units=512 'model.loss="logistic"'
      layers are counted from 0; a value is TOML, or a bare word
  mpirun -n 32 {PROGRAM} run.toml --run-dir DIR
      begin there, or go on from the newest checkpoint there, on any number of ranks
  {PROGRAM} run.toml --dry-run --ranks 64
      show roles, memory and traffic of 64 ranks; needs no MPI

Every key with its default: {DEFAULT_FILE}
and, as tables, docs/configuration.md of the source.
To stop a run with a checkpoint send SIGUSR1 to mpirun, or to the process that trains alone; mpirun itself
leaves its ranks two seconds after Ctrl-C, SIGTERM or SIGHUP.

exit status:
"""
WIDTH, INDENT = 105, 22


@dataclass(frozen=True)
class Arguments:
    """What the command line asks for; `overrides` are the texts of --set, in order, `words` all of it."""

    config: Path | None = None
    overrides: tuple[str, ...] = ()
    run_dir: Path | None = None
    dry_run: bool = False
    ranks: int | None = None
    print_config: bool = False
    resume: bool = False
    wait: bool = False
    words: tuple[str, ...] = field(default=(), compare=False, repr=False)


class _Parser(argparse.ArgumentParser):
    """A parser whose errors can be printed once for all ranks, like every other user error."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"command line: {plain(message)}; see {PROGRAM} --help")


def parse(argv: Sequence[str], environment: Mapping[str, str] = os.environ) -> Arguments:
    """Read the command line; --help and --version print, on one rank only, and leave with status 0.

    Parameters
    ----------
    argv
        The arguments, without the program's name.
    environment
        Where the launcher says which rank this is.

    Raises
    ------
    UserError
        For a mistake in the command line.
    """
    parser = _parser()
    given, more = parser.parse_known_args(argv)
    if given.help or given.version:
        print_and_leave(parser.format_help() if given.help else f"dbmpi {__version__}\n", environment)
    config, overrides = _take_config(given.config, given.set)
    _check_words(parser, given.resume, config, more)
    for path in (config, given.run_dir):
        if path is not None and has_control(str(path)):
            parser.error(f"{show(str(path))} has control characters, or is not UTF-8; give another name")
    if given.ranks is not None and not given.dry_run:
        parser.error("--ranks goes with --dry-run; to train on that many ranks use mpirun -n")
    shown = given.dry_run, given.ranks, given.print_config
    return Arguments(config, overrides, given.run_dir, *shown, given.resume, given.wait, tuple(argv))


def _check_words(parser: _Parser, resume: bool, config: Path | None, more: Sequence[str]) -> None:
    """Refuse words that mean nothing here, and a directory where a file is meant."""
    places = [str(config)] if config is not None and os.path.isdir(config) else []
    places += [word for word in more if not word.startswith("-")]
    named = [shlex.quote(place) for place in places]
    if places and resume:
        parser.error(f"--resume takes no directory: write --run-dir {named[0]} --resume")
    if config is not None and "=" in str(config) and not os.path.exists(config):
        parser.error(f"{config} is no CONFIG.toml{_meant(parser, [str(config)])}")
    if more:
        words = more if config is None else [*more, str(config)]
        parser.error(f"unrecognized arguments: {' '.join(more)}{_meant(parser, words)}")
    if places:
        parser.error(
            f"{places[0]} is a directory, and no CONFIG.toml; to train there write --run-dir {named[0]}"
        )


def _meant(parser: _Parser, words: Sequence[str]) -> str:
    """Say in parentheses which option the first of some words was to be, or which setting."""
    from dbmpi.config import hints

    word = words[0].partition("=")[0]
    options = [one for one in close(word, parser._option_string_actions) if one[:3] == word[:3]]
    meant = hints.options(hints.texts(words[:2], {})) or "".join(options[:1])
    return f" (did you mean {meant}?)" if meant else ""


def _directory(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError(
            "the name is empty (a variable that is not set?); give a directory, . for this one"
        )
    return Path(text)


def _parser() -> _Parser:
    parser = _Parser(
        prog=PROGRAM,
        description="Train a partitioned network with asynchronous replicas and a sharded parameter server.",
        epilog=EXAMPLES + _statuses(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "config",
        metavar="CONFIG.toml",
        nargs="?",
        type=Path,
        help="what to train; the embedded digits if left out",
    )
    add(
        "--set",
        metavar="section.key=value",
        nargs="+",
        action="extend",
        default=[],
        help="replace values of the configuration; may be repeated",
    )
    add(
        "--run-dir",
        metavar="DIR",
        type=_directory,
        help="where to write; default: a new one, runs/NAME-DATE-TIME, NAME being CONFIG's or the data's",
    )
    add(
        "--resume",
        action="store_true",
        help="go on from a checkpoint, of the newest run of this name where no DIR is given, or fail",
    )
    add(
        "--wait",
        action="store_true",
        help="where another run has the directory, wait until it has ended or does not renew its lease",
    )
    add("--dry-run", action="store_true", help="show roles, memory and traffic, and leave")
    add("--ranks", metavar="N", type=_count, help="with --dry-run: for so many ranks")
    add("--print-config", action="store_true", help="print the configuration as it would be used, and leave")
    add("--version", action="store_true", help="print the version, and leave")
    add("-h", "--help", action="store_true", help="show this text, and leave")
    return parser


def _statuses() -> str:
    """Return the table of exit statuses."""
    rows = (f"  {status:<{INDENT - 2}}{meaning}" for status, meaning in STATUSES.items())
    return "\n".join(fill(row, WIDTH, subsequent_indent=" " * INDENT) for row in rows) + "\n"


def _count(text: str) -> int:
    if text.isascii() and text.isdigit() and 0 < int(text[:9]) <= MOST_RANKS and len(text) < 10:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text[:20]!r} is no number of ranks; give 1 to {MOST_RANKS}")


def _take_config(config: Path | None, items: Sequence[str]) -> tuple[Path | None, tuple[str, ...]]:
    """Separate a CONFIG.toml that was written after --set, which takes all that follows it."""
    files = [item for item in items if item.endswith(".toml") and "=" not in item]
    if config is None and len(files) == 1:
        config = Path(files[0])
        items = [item for item in items if item != files[0]]
    return config, tuple(items)


def print_and_leave(text: str, environment: Mapping[str, str]) -> NoReturn:
    """Print a text on one rank only, and leave with status 0."""
    if speaks(environment):
        sys.stdout.write(text)
    raise SystemExit(reported(STATUS_OK))
