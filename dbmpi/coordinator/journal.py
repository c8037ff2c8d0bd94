"""What Downpour's replicas were given and have done, and what deaths cost. Pure, without MPI.

The scheduler knows it; where ranks may die a shard does too, which has the coordinator's state of a while
ago and a note of each portion since. The note of a portion goes before the portion: what a replica may have
learned from, the shard has heard of. So when the coordinator dies no more is learned again than was
outstanding.

What no one can know is counted (`LogState`): how far a dead replica was with its portions, and how much of
its gradient had arrived.
"""

from dataclasses import replace

import numpy as np

from dbmpi.checkpoint.run_state import DownpourState
from dbmpi.comm.assignments import Note, Portion
from dbmpi.coordinator.cluster import Mirrors
from dbmpi.coordinator.portion_scheduler import PortionScheduler
from dbmpi.coordinator.replicas import Job
from dbmpi.output.metrics import MetricsLog

LONG = 1000  # notes, after which another state is cheaper than more of them


class Journal:
    """Keeps account of the portions of a run.

    Parameters
    ----------
    scheduler
        What is left to learn from.
    log
        Counts what may be learned from twice, or not at all.
    replicas
        How many there are.
    mirrors
        The shards, where one keeps notes.
    """

    def __init__(
        self, scheduler: PortionScheduler, log: MetricsLog, replicas: int, mirrors: Mirrors | None
    ) -> None:
        self._scheduler, self._log, self._mirrors = scheduler, log, mirrors
        self._unpushed = [0] * replicas
        self._notes: list[Note] = []
        self._sent = 0  # notes, since the state

    @property
    def long(self) -> bool:
        """Whether so many notes have come that it is time for another state."""
        return self._sent >= LONG

    def next(self, replica: int, most: int | None) -> Portion | None:
        """Return the next portion for a replica. See `PortionScheduler.next`."""
        portion = self._scheduler.next(replica, most)
        if portion is not None:
            self._note(Note(replica, portion, done=False))
            self.send_notes()
        return portion

    def done(self, job: Job, portion: Portion) -> None:
        """Take note that a replica has learned from a portion, as far as it reports."""
        steps, examples = int(job.reports[0]["steps"]), int(job.reports[0]["examples"])
        learned = replace(portion, minibatches=steps, examples=examples)
        self._scheduler.done(learned)
        self.pushed(job)
        self._note(Note(job.replica, learned, True, self._unpushed[job.replica]))

    def pushed(self, job: Job) -> None:
        """Take in how much a replica has not pushed, by its reports of a portion or of a flush."""
        self._unpushed[job.replica] = max(int(report["unpushed"]) for report in job.reports)

    def died(self, replica: int, jobs: list[Job]) -> None:
        """Take back what a dead replica had outstanding."""
        for job in jobs:
            if job.portion is not None:
                self._scheduler.give_back(job.portion)
                self._log.rows_again += job.portion.examples
        self._log.rows_lost += self._unpushed[replica]
        self._unpushed[replica] = 0

    def _note(self, note: Note) -> None:
        if self._mirrors is not None:
            self._notes.append(note)

    def send_notes(self) -> None:
        """Let the shard have the notes that it has not."""
        if self._mirrors is not None and self._notes:
            self._mirrors.send_notes(np.array([note.record() for note in self._notes]))
            self._sent += len(self._notes)
            self._notes.clear()

    def state(self, evaluation_due: bool) -> DownpourState:
        """Return where the run stands, for `restore`."""
        self.send_notes()
        return DownpourState(self._scheduler.state(), evaluation_due, tuple(self._unpushed))

    def begin(self) -> None:
        """Begin anew, as a shard has been sent the state."""
        self._sent = 0

    def restore(self, state: DownpourState) -> None:
        """Go on from `state`; what was outstanding is to be done again. The log is restored already."""
        self._scheduler.restore(state.scheduler)
        unpushed = dict(enumerate(state.unpushed))
        for note in state.notes:
            if note.done:
                self._scheduler.done(note.portion)
                self._log.learned(note.portion.minibatches, note.portion.examples)
                unpushed[note.replica] = note.unpushed
            else:
                self._scheduler.take(note.portion)
        self._log.rows_again += self._scheduler.give_back_all()
        self._log.rows_lost += sum(unpushed.values())
        self._log.rows_lost += sum(int(portion["examples"]) for portion in state.scheduler.unplaced)
