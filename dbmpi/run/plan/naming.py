"""How a run is called: its directory where none is given, its source, the command that goes on with it."""

import os
import shlex
from pathlib import Path

from dbmpi.config.sections import Config
from dbmpi.errors import UserError
from dbmpi.run.start import cli
from dbmpi.text import decoded, has_control

RUNS = Path("runs")
LONGEST_NAME = 100  # bytes
EMBEDDED = "digits"


def run_name(config: Path | None, data: str) -> str:
    """Return what the names of run directories begin with, where none is given: the stem of a file.

    That of the configuration, if one was given, else that of the data.
    """
    name = (config if config is not None else Path(data)).stem
    return "run" if not name or has_control(name) else decoded(name.encode()[:LONGEST_NAME])


def source(arguments: cli.Arguments, config: Config) -> str:
    """Return what a run was begun from, the configuration or else the data: a path from where `runs` is."""
    given = str(arguments.config) if arguments.config is not None else config.data.path
    if arguments.config is None and given == EMBEDDED:
        return given
    return relative(given)


def go_on(arguments: cli.Arguments, run_dir: Path) -> str:
    """Say which command goes on with a run: the same one does where it names the directory."""
    if arguments.run_dir is not None:
        return "the same command goes on"
    return f"the same command with --run-dir {shlex.quote(relative(run_dir))} goes on"


def absolute(path: Path) -> Path:
    """Return an absolute path.

    Raises
    ------
    UserError
        It begins in the working directory, and that is gone.
    """
    try:
        return path.absolute()
    except OSError as error:
        raise UserError(
            f"the working directory cannot be found ({error.strerror}), where {path} would begin: go to one "
            "that is there (cd), or give a path from / on (--run-dir)"
        ) from None


def relative(path: str | Path) -> str:
    """Return a path from the working directory; as it is where that is gone."""
    try:
        return os.path.relpath(path)
    except OSError:
        return str(path)
