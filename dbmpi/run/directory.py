"""Which directory a run is in, and how it becomes the run's own. On rank 0."""

import sys
import time
from datetime import datetime
from pathlib import Path

from dbmpi.checkpoint import resume
from dbmpi.checkpoint.directory import prepare
from dbmpi.config.sections import Config
from dbmpi.output import run_directory
from dbmpi.ownership.claim import Claimant
from dbmpi.ownership.lease import Lease
from dbmpi.ownership.owned import OwnedDirectory
from dbmpi.run import cli
from dbmpi.run.naming import RUNS, run_name, source
from dbmpi.run.refusal import say_warning

REMIND_S = 60.0  # between two lines of one that waits


class Opening:
    """The run directory that a command line asks for, until this job owns it.

    Parameters
    ----------
    arguments, config
        What was asked for, and the configuration.

    Attributes
    ----------
    lease
        Of this job, once it is the owner.
    """

    def __init__(self, arguments: cli.Arguments, config: Config) -> None:
        self._arguments, self._config = arguments, config
        self._claimant: Claimant | None = None
        self._told_at = 0.0
        self.lease: Lease | None = None

    def attempt(self) -> OwnedDirectory | None:
        """Try to become the owner; None where another job is, and this one waits: try again then.

        Raises
        ------
        UserError
            The directory is of no use, or another job's and this one shall not wait.
        """
        if self._claimant is None:
            path = self._place()
            run_directory.check_foreign(path, resume.looks_like_a_run(path))
            self._claimant = Claimant(path, self._config.output.lease_s)
        claimed = self._claimant.attempt()
        if claimed is None:
            if not self._arguments.wait:
                raise self._claimant.refusal()
            self._wait()
            return None
        owned, owner = claimed
        self.lease = Lease(owned, owner, say_warning)
        prepare(owned)
        if owned.uncertain:
            say_warning(f"{owned.path} is taken over from {self._claimant.owner_name()}: it may be alive")
            owned.detach(run_directory.METRICS)
        return owned

    def _place(self) -> Path:
        """Return the directory, made if it was not there."""
        asked, name = self._arguments, run_name(self._arguments.config, self._config.data.path)
        if asked.run_dir is not None:
            return run_directory.create(asked.run_dir.absolute())
        if not asked.resume:
            return run_directory.create_new(RUNS, name, datetime.now())
        mine = None, source(asked, self._config)
        found = resume.newest(RUNS, name, lambda path: run_directory.source_of(path) in mine)
        print(f"dbmpi: --resume: the newest run of this name is in {found}", flush=True)
        return run_directory.create(found.absolute())

    def _wait(self) -> None:
        assert self._claimant is not None
        if time.monotonic() >= self._told_at:
            print(f"dbmpi: waits: {self._claimant.owner_text()}", file=sys.stderr, flush=True)
            self._told_at = time.monotonic() + REMIND_S

    def close(self) -> None:
        """Give the directory up, if this job owns it."""
        if self.lease is not None:
            self.lease.release()
