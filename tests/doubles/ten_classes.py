"""A configuration as a run on ten classes has it: for tests of what does not look at data."""

from collections.abc import Sequence
from pathlib import Path

from dbmpi.config.load import load as load_file
from dbmpi.config.sections import Config
from dbmpi.data.describe import Description
from dbmpi.run.plan.tasks import with_task

TEN = Description("ten.h5", 1000, 100, (64,), 64, 10, None, "uint8", 1.0, 0.0, None)


def load(path: Path | None, overrides: Sequence[str] = ()) -> Config:
    """Load a configuration, and put what ten classes make of its network in place of "auto"."""
    return with_task(load_file(path, overrides), TEN)
