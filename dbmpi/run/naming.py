"""How a run is called: its directory where none is given, its source, the command that goes on with it."""

import os
from contextlib import suppress
from pathlib import Path

from dbmpi.config.sections import Config
from dbmpi.output.run_directory import FINISHED
from dbmpi.run import cli
from dbmpi.text import has_control

RUNS = Path("runs")
LONGEST_NAME = 100  # characters
EMBEDDED = "digits"


def run_name(config: Path | None, data: str) -> str:
    """Return what the names of run directories begin with, where none is given: the stem of a file.

    That of the configuration, if one was given, else that of the data.
    """
    name = (config if config is not None else Path(data)).stem
    return "run" if not name or has_control(name) else name[:LONGEST_NAME]


def source(arguments: cli.Arguments, config: Config) -> str:
    """Return what a run was begun from, the configuration or else the data: a path from where `runs` is."""
    given = str(arguments.config) if arguments.config is not None else config.data.path
    if arguments.config is None and given == EMBEDDED:
        return given
    return os.path.relpath(given)


def go_on(arguments: cli.Arguments, run_dir: Path) -> str:
    """Say which command goes on with a run: the same one does where it names the directory."""
    if arguments.run_dir is not None:
        return "the same command goes on"
    return f"the same command with --run-dir {os.path.relpath(run_dir)} goes on"


def announce_end(run_dir: Path) -> None:
    """Say that a run has come to its end before, if it has."""
    with suppress(OSError, UnicodeDecodeError):
        reason = (run_dir / FINISHED).read_text("utf-8").strip()
        print(
            f"dbmpi: the run in {run_dir} has ended ({reason}); it goes on as far as limits are higher now",
            flush=True,
        )
