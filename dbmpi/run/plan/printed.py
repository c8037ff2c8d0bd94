"""What --print-config and --dry-run print, and nothing else happens: without MPI."""

import os
from functools import partial

from dbmpi.errors import STATUS_OK
from dbmpi.run.start.cli import Arguments
from dbmpi.run.start.launch import speaks


def print_report(arguments: Arguments) -> int:
    """Print what --print-config or --dry-run asks for, on one rank, without MPI."""
    from dbmpi.config.load import load
    from dbmpi.config.toml import to_toml

    loaded = load(arguments.config, arguments.overrides)
    text = to_toml(loaded)
    if arguments.dry_run:
        from dbmpi.data.describe import describe
        from dbmpi.data.fields import fields_of
        from dbmpi.run.plan.continuing import foresee
        from dbmpi.run.plan.dryrun import report

        find = partial(foresee, arguments, loaded)
        text = report(loaded, arguments.ranks, describe(loaded.data.path, fields=fields_of(loaded)), find)
    if speaks(os.environ):
        print(text)
    return STATUS_OK
