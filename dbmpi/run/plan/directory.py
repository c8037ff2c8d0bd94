"""Which directory a run is in, and how it becomes the run's own. On rank 0."""

import os
import sys
import threading
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from dbmpi.checkpoint import resume
from dbmpi.checkpoint.directory import prepare
from dbmpi.comm.background import Background
from dbmpi.config.sections import Config
from dbmpi.errors import Fenced, TakenOver, UserError
from dbmpi.output import run_directory
from dbmpi.ownership.claim import Claimant
from dbmpi.ownership.lease import PATIENCE_S, Lease, abandon
from dbmpi.ownership.owned import OwnedDirectory
from dbmpi.ownership.record import OWNER
from dbmpi.run.plan.continuing import ModelOf, check_unfinished, place
from dbmpi.run.plan.naming import RUNS, absolute, run_name
from dbmpi.run.start import cli
from dbmpi.run.start.refusal import say_warning

REMIND_S = 60.0  # between two lines of one that waits


class Opening:
    """The run directory that a command line asks for, from before this job owns it until it is given up.

    Parameters
    ----------
    arguments, config
        What was asked for, and the configuration.
    model
        As `check_unfinished`.
    keeper
        As `Identity.own`.

    Attributes
    ----------
    begun
        Whether the run has begun: its directory describes it. One that has not leaves nothing.
    """

    def __init__(self, arguments: cli.Arguments, config: Config, model: ModelOf, keeper: int = 0) -> None:
        self._arguments, self._config, self._model = arguments, config, model
        self._keeper = keeper
        self._claimant: Claimant | None = None
        self._told_at = 0.0
        self._path: Path | None = None
        self._made: list[Path] = []  # directories that were not there, the innermost first
        self._fresh = False  # whether no run was there
        self._lease: Lease | None = None
        self._closed, self._lock = False, threading.RLock()
        self.begun = False

    def attempt(self) -> OwnedDirectory | None:
        """Try to become the owner; None where another job is, and this one waits: try again then.

        In a thread of its own, so that no signal comes between becoming the owner and knowing it.

        Raises
        ------
        RunFinished
            There is nothing to do.
        UserError
            The directory is of no use, or another job's and this one shall not wait.
        """
        return Background(lambda call: self._attempt()).result(lambda: None)

    def _attempt(self) -> OwnedDirectory | None:
        with self._lock:
            return None if self._closed else self._claim()

    def _claim(self) -> OwnedDirectory | None:
        if self._path is None or self._claimant is None:
            self._path = self._place()
            self._fresh = not resume.looks_like_a_run(self._path)
            run_directory.check_foreign(self._path, not self._fresh)
            self._claimant = Claimant(self._path, self._config.output.lease_s, self._keeper)
        check_unfinished(self._path, self._config, self._model)
        claimed = self._claimant.attempt()
        if claimed is None:
            if not self._arguments.wait:
                raise self._claimant.refusal()
            self._wait()
            return None
        owned, owner = claimed
        self._lease = Lease(owned, owner, say_warning)
        self._lease.last = lambda: self._leave_nothing(owned)
        owned = prepare(owned)
        if owned.uncertain:
            say_warning(f"{owned.path} is taken over from {self._claimant.owner_name()}: it may be alive")
            owned.detach(run_directory.METRICS)
        return owned

    def _place(self) -> Path:
        """Return the directory, made if it was not there."""
        path = place(self._arguments, self._config)
        if path is not None:
            self._note_missing(path)
            return run_directory.create(path)
        runs, name = absolute(RUNS), run_name(self._arguments.config, self._config.data.path)
        self._note_missing(runs)
        path = run_directory.create_new(runs, name, datetime.now())
        self._made.insert(0, path)
        return path

    def _note_missing(self, path: Path) -> None:
        self._made = [one for one in (path, *path.parents) if not os.path.lexists(one)]

    def _wait(self) -> None:
        assert self._claimant is not None
        if time.monotonic() >= self._told_at:
            print(f"dbmpi: waits: {self._claimant.owner_text()}", file=sys.stderr, flush=True)
            self._told_at = time.monotonic() + REMIND_S

    def close(self) -> None:
        """Give the directory up, if this job owns it; of a run that has not begun nothing is left. Local.

        From any thread, also where a signal interrupts what is done here; waits for no disk that hangs.
        """
        self._closed = True
        if self._lock.acquire(timeout=PATIENCE_S):
            try:
                if self._lease is not None:
                    self._lease.release()
                else:
                    self._remove_made()
            finally:
                self._lock.release()

    def _leave_nothing(self, owned: OwnedDirectory) -> None:
        """Remove what a run that has not begun has made, while this job is the owner."""
        if self.begun or not self._fresh or owned.generation > 1:
            return
        with suppress(OSError, UserError, TakenOver, Fenced):
            for name in (run_directory.CONFIG, run_directory.RUN):
                owned.remove(owned.path / name)
            abandon(owned, run_directory.CHECKPOINTS)
            self._remove_made()

    def _remove_made(self) -> None:
        """Remove the directories that this job has made, those that are empty."""
        owners = [self._path / OWNER] if self._path is not None else []
        for path in (*owners, *self._made):
            with suppress(OSError):
                path.rmdir()
