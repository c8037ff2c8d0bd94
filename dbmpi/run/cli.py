"""The command line of `python -m dbmpi.train`, read without MPI and without numpy."""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from dbmpi import __version__
from dbmpi.config.schema import DEFAULT_FILE, MOST_RANKS
from dbmpi.errors import STATUS_OK, UserError
from dbmpi.run.launch import env_rank
from dbmpi.screen import reported
from dbmpi.text import has_control, plain, show

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
Status: 0 done, 1 failed, 2 a mistake in the command line or the configuration, 3 diverged, or a batch method
that could go no further, 85 stopped by a signal or a limit in time, or unable to write its last checkpoint,
model or summary, with a checkpoint, or stopped before training: the same command with its --run-dir goes on,
86 the run directory belongs to another run, 87 another run has taken it over.
"""


@dataclass(frozen=True)
class Arguments:
    """What the command line asks for; `overrides` are the texts of --set, in order."""

    config: Path | None = None
    overrides: tuple[str, ...] = ()
    run_dir: Path | None = None
    dry_run: bool = False
    ranks: int | None = None
    print_config: bool = False
    resume: bool = False
    wait: bool = False


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
        _print_and_leave(parser.format_help() if given.help else f"dbmpi {__version__}\n", environment)
    config, overrides = _take_config(given.config, given.set)
    _check_words(parser, given.resume, config, more)
    for path in (config, given.run_dir):
        if path is not None and has_control(str(path)):
            parser.error(f"{show(str(path))} has control characters, or is not UTF-8; give another name")
    if given.ranks is not None and not given.dry_run:
        parser.error("--ranks goes with --dry-run; to train on that many ranks use mpirun -n")
    shown = given.dry_run, given.ranks, given.print_config
    return Arguments(config, overrides, given.run_dir, *shown, given.resume, given.wait)


def _check_words(parser: _Parser, resume: bool, config: Path | None, more: Sequence[str]) -> None:
    """Refuse words that mean nothing here, and a directory where a file is meant."""
    places = [str(config)] if config is not None and os.path.isdir(config) else []
    places += [word for word in more if not word.startswith("-")]
    if places and resume:
        parser.error(f"--resume takes no directory: write --run-dir {places[0]} --resume")
    if more:
        parser.error(f"unrecognized arguments: {' '.join(more)}")
    if places:
        parser.error(
            f"{places[0]} is a directory, and no CONFIG.toml; to train there write --run-dir {places[0]}"
        )


def _directory(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError(
            "the name is empty (a variable that is not set?); give a directory, . for this one"
        )
    return Path(text)


def print_report(arguments: Arguments) -> int:
    """Print what --print-config or --dry-run asks for, on one rank, without MPI."""
    from dbmpi.config.load import load
    from dbmpi.config.toml import to_toml

    loaded = load(arguments.config, arguments.overrides)
    text = to_toml(loaded)
    if arguments.dry_run:
        from dbmpi.data.describe import describe
        from dbmpi.run.dryrun import report

        text = report(loaded, arguments.ranks, describe(loaded.data.path, weights=loaded.data.weights))
    if env_rank(os.environ) == 0:
        print(text)
    return STATUS_OK


def _parser() -> _Parser:
    parser = _Parser(
        prog=PROGRAM,
        description="Train a partitioned network with asynchronous replicas and a sharded parameter server.",
        epilog=EXAMPLES,
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


def _print_and_leave(text: str, environment: Mapping[str, str]) -> NoReturn:
    """Print a text on one rank only, and leave with status 0."""
    if env_rank(environment) == 0:
        sys.stdout.write(text)
    raise SystemExit(reported(STATUS_OK))
