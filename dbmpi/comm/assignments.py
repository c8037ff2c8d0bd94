"""Assignments as records: what the coordinator writes, and what a partition reads. Pure."""

from dataclasses import dataclass

import numpy as np

from dbmpi.arrays import Record
from dbmpi.comm.protocol import ASSIGNMENT, Work


@dataclass(frozen=True)
class Portion:
    """A unit of work: `minibatches` of portion `index` of part `part` in an epoch.

    `before` counts the examples that were handed out before it, `examples` its own.
    """

    epoch: int
    part: int
    index: int
    minibatches: int
    examples: int
    before: int


def plain(work: Work, examples: int = 0) -> Record:
    """Return an `ASSIGNMENT`, `()`, without a portion or rows; `examples` were handed out before it."""
    record = np.zeros((), ASSIGNMENT)
    record["work"], record["examples"] = work, examples
    return record


def leave(status: int) -> Record:
    """Return the `ASSIGNMENT`, `()`, that says the run has ended, and with which exit status."""
    record = plain(Work.LEAVE)
    record["status"] = status
    return record


def reroute(dead: int, successor: int) -> Record:
    """Return the `ASSIGNMENT`, `()`, that says that one shard has died, and which one has its pieces."""
    record = plain(Work.REROUTE)
    record["dead"], record["successor"] = dead, successor
    return record


def evaluation_of(start: int, stop: int) -> Record:
    """Return the `ASSIGNMENT`, `()`, that orders to score the held-out rows [start, stop)."""
    record = plain(Work.EVALUATE)
    record["start"], record["stop"] = start, stop
    return record


def assignment_of(portion: Portion) -> Record:
    """Return the `ASSIGNMENT`, `()`, that orders to learn from a portion."""
    record = plain(Work.TRAIN, portion.before)
    record["epoch"], record["part"], record["index"] = portion.epoch, portion.part, portion.index
    record["minibatches"] = portion.minibatches
    return record


def gradient_of(pass_number: int, sample: int, index: int, batch: int) -> Record:
    """Return the `ASSIGNMENT`, `()`, that orders the gradient of a portion of a batch of so many examples."""
    record = plain(Work.GRADIENT, batch)
    record["pass_number"], record["epoch"], record["index"] = pass_number, sample, index
    return record


def about(work: Work, pass_number: int, index: int = 0) -> Record:
    """Return the `ASSIGNMENT`, `()`, that says what becomes of a portion's gradient, or of the sum."""
    record = plain(work)
    record["pass_number"], record["index"] = pass_number, index
    return record


def portion_of(assignment: Record) -> Portion:
    """Return the portion that a TRAIN assignment orders; its own examples are left to the plan."""
    a = assignment
    return Portion(
        int(a["epoch"]), int(a["part"]), int(a["index"]), int(a["minibatches"]), -1, int(a["examples"])
    )
