"""The end of a run: what must be on disk for it to be over, and what becomes of one that cannot write it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

from dbmpi.errors import STATUS_FAILURE, STATUS_STOPPED, UserError
from dbmpi.output import run_directory
from dbmpi.output.reminder import reminding
from dbmpi.screen import NAMES, say, unshown

if TYPE_CHECKING:
    from dbmpi.coordinator.stopping import Stopping
    from dbmpi.output.metrics import MetricsLog
    from dbmpi.run.plan.setup import Setup


ANEW = "begin again with another --run-dir"
LACKS = "the run has not written all that it should"
STDERR = NAMES["stderr"]


class LastWord:
    """The last checkpoint, the model, and the summary of a run: all of them, or it is not over.

    Parameters
    ----------
    setup, log, stopping
        The run, what it has measured, and why it ends.
    checkpoint_problem
        What kept the last checkpoint from the disk; empty where nothing has.

    Attributes
    ----------
    problems
        What could not be written, and why.
    """

    def __init__(
        self, setup: "Setup", log: "MetricsLog", stopping: "Stopping", checkpoint_problem: str
    ) -> None:
        self._setup, self._log, self._stopping = setup, log, stopping
        self.problems: list[str] = []
        self.note(checkpoint_problem)

    def note(self, problem: str) -> None:
        """Take in what could not be written; nothing where all could."""
        if problem:
            self.problems.append(problem)

    @contextmanager
    def attempting(self, what: str) -> Iterator[None]:
        """Note that something cannot be written, and say now and then that it still is being written."""
        try:
            with reminding(what, self._log.say):
                yield
        except UserError as error:
            self.note(str(error))

    def conclude(self) -> int:
        """Write the summary, say how the run ended, and give its directory up; return the exit status."""
        from dbmpi.output.summary import conclusion, summary

        owned, stopping = self._setup.owned, self._stopping
        owned.check()
        self._log.job(began=False)
        self._log.note_unshown(unshown())
        content = summary(self._log, stopping.reason, self._status(), stopping.verdict)
        with self.attempting(run_directory.SUMMARY):
            owned.write_json(run_directory.SUMMARY, content)
        if stopping.finished and not self.problems:
            with self.attempting(run_directory.FINISHED):
                owned.write_text(run_directory.FINISHED, f"{stopping.reason}\n")
        with self.attempting(run_directory.METRICS):
            self._log.close()
        say(conclusion(content, owned.path, complete=not self.problems))
        if not stopping.finished and not self.problems:
            say(f"dbmpi: stopped before its end: {self._setup.go_on} from there")
        for text in self._errors():
            say(f"dbmpi: error: {text}", error=True)
        for text in unshown():
            screen = sys.stdout if text.startswith(STDERR) else sys.stderr  # the other one
            print(f"dbmpi: warning: not everything could be shown: {text}", file=screen, flush=True)
        status = self._status()
        self._setup.release()
        return status

    def _errors(self) -> Iterator[str]:
        """Yield what is wrong with the run, and what can be done about it."""
        if self._stopping.lost:
            yield self._stopping.advice
        yield from self.problems
        if self._status() == STATUS_STOPPED and self.problems:
            yield f"{LACKS}: look at the space there; then {self._setup.go_on} from its last checkpoint"
        elif self._status() == STATUS_FAILURE:
            # With its model the directory is taken, which nobody overwrites.
            yield f"{LACKS}, and has no checkpoint to go on from: look at the space there, and {ANEW}"

    def _status(self) -> int:
        """Return the exit status; without its last word a run has stopped, or failed if nothing goes on."""
        if not self.problems or self._stopping.lost:
            return self._stopping.status
        return STATUS_STOPPED if self._resumable else STATUS_FAILURE

    @cached_property
    def _resumable(self) -> bool:
        """Return whether there is a whole checkpoint."""
        from dbmpi.checkpoint.resume import last_whole

        return last_whole(self._setup.run_dir) is not None
