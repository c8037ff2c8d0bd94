"""Assignments as records: what the coordinator writes, and what a partition reads. Pure."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from dbmpi.arrays import Record
from dbmpi.comm.protocol import ASSIGNMENT, NOTE, PLAN, Work


@dataclass(frozen=True)
class PlanNumbers:
    """What a `data.portions.PortionPlan` is made from: it tells which rows the portions hold that it cut."""

    rows: int
    minibatch: int
    replicas: int
    seed: int
    portion_minibatches: int | Literal["auto"]
    chunk_rows: int | None


@dataclass(frozen=True)
class Portion:
    """A unit of work: `minibatches` of portion `index` of part `part` in an epoch, as a plan cut it.

    `before` counts the examples that were handed out before it, `examples` its own; `first` is the first of
    its minibatches, beyond 0 where the others were handed out before.
    """

    epoch: int
    part: int
    index: int
    minibatches: int
    examples: int
    before: int
    plan: PlanNumbers
    first: int = 0


@dataclass(frozen=True)
class Note:
    """That a replica was given a portion, or has done it: what the coordinator's state lacks that was sent.

    `unpushed` counts the examples that the replica has reported, this portion's with them, whose gradient no
    shard is known to have.
    """

    replica: int
    portion: Portion
    done: bool
    unpushed: int = 0

    def record(self) -> Record:
        """Return it as a `NOTE`, `()`."""
        assignment = assignment_of(self.portion)
        return np.array((self.replica, self.done, self.unpushed, assignment), NOTE)


def note_of(record: Record) -> Note:
    """Return what `Note.record` was made from."""
    portion, unpushed = portion_of(record["assignment"]), int(record["unpushed"])
    return Note(int(record["replica"]), portion, bool(record["done"]), unpushed)


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


def fence(rank: int) -> Record:
    """Return the `ASSIGNMENT`, `()`, that says that the run goes on without a world rank, which is silent."""
    record = plain(Work.FENCE)
    record["dead"] = rank
    return record


def evaluation_of(start: int, stop: int, checkpoint: int = 0, full: bool = False) -> Record:
    """Return the `ASSIGNMENT`, `()`, that orders to score the held-out rows [start, stop).

    On the parameters of a `checkpoint`, or with 0 on those that the shards have. A `full` one counts all that
    there is to count.
    """
    record = plain(Work.EVALUATE)
    record["start"], record["stop"], record["checkpoint"] = start, stop, checkpoint
    record["full"] = full
    return record


def assignment_of(portion: Portion) -> Record:
    """Return the `ASSIGNMENT`, `()`, that orders to learn from a portion."""
    record = plain(Work.TRAIN, portion.before)
    record["epoch"], record["part"], record["index"] = portion.epoch, portion.part, portion.index
    record["first"], record["minibatches"] = portion.first, portion.minibatches
    record["rows"] = portion.examples
    record["plan"] = tuple(value or 0 for value in vars(portion.plan).values())
    return record


def in_turn(portion: Portion | None, before: int, first: int, rounds: int, stride: int) -> Record:
    """Return the `ASSIGNMENT`, `()`, that orders a replica's part of a turn; without a portion, to wait.

    Parameters
    ----------
    before
        Examples handed out before this turn.
    first, rounds
        The first round, and how many there are.
    stride
        Examples in each, of all replicas.
    """
    record = plain(Work.TRAIN) if portion is None else assignment_of(portion)
    record["examples"], record["round"], record["rounds"], record["stride"] = before, first, rounds, stride
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
    """Return the portion that a TRAIN assignment orders."""
    a = dict(zip(ASSIGNMENT.names or (), assignment.item(), strict=True))
    plan = PlanNumbers(**dict(zip(PLAN.names or (), a["plan"], strict=True)))
    plan = replace(plan, chunk_rows=plan.chunk_rows or None)
    place = a["epoch"], a["part"], a["index"]
    return Portion(*place, a["minibatches"], a["rows"], a["examples"], plan, a["first"])
