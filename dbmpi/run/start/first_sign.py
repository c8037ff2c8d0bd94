"""The first sign of a run: rank 0 shows that it is there, before it loads anything that takes its time."""

import os
import time
from collections.abc import Mapping, Sequence

from dbmpi.run.start.launch import env_rank

ROWS = {"-"}  # with which rows come to standard output, which may be the same terminal
PRINTING = {"--help", "-h", "--version", "--dry-run", "--print-config"}  # with which nothing is trained


def show(words: Sequence[str], env: Mapping[str, str] = os.environ) -> None:
    """Show it on rank 0, where the words of the command line ask for a run. Local."""
    if env_rank(env) == 0 and not PRINTING.intersection(words):
        from dbmpi.output.starting import Starting  # on other ranks it is not needed

        Starting(time.monotonic()).begin()


def show_beside(doing: str, words: Sequence[str], env: Mapping[str, str] = os.environ) -> None:
    """Show it where standard output is for what a command finds: on the terminal of standard error. Local."""
    if env_rank(env) == 0 and not (PRINTING | ROWS).intersection(words):
        from dbmpi.output.starting import Starting

        Starting(time.monotonic(), doing, output=2).begin()
