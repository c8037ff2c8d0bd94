"""Where a run stands, as a checkpoint holds it: plain records. Pure.

`to_json` and `from_json` keep the names that format 1 has on disk. Three of them differ from those of the
program: `book` is the metrics log, `ledger` the scheduler of portions, `evaluation` the number of a pass.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dbmpi.checkpoint.scheduler_state import Json, SchedulerState, portion_of_json
from dbmpi.comm.assignments import Note
from dbmpi.output.totals import EvaluationSums, LogState, ServiceTotals


@dataclass(frozen=True)
class StoppingState:
    """What the limit on the loss compares with, and how many portions in a row were beyond it."""

    first_loss: float | None
    beyond: int


@dataclass(frozen=True)
class DownpourState:
    """A run of Downpour, or a warmstart.

    Parameters
    ----------
    scheduler
        What is handed out, and what is left.
    evaluation_due
        Whether an evaluation was still to be ordered.
    unpushed
        Of each replica, the examples that it had reported and whose gradient no shard was known to have.
    notes
        What came since, until the coordinator died.
    """

    scheduler: SchedulerState
    evaluation_due: bool
    unpushed: Sequence[int] = ()
    notes: Sequence[Note] = ()

    @property
    def examples_since(self) -> int:
        """How many were reported since."""
        return sum(note.portion.examples for note in self.notes if note.done)

    def to_json(self) -> Json:
        """Return it as JSON can hold it."""
        more = {"unpushed": list(self.unpushed), "notes": [asdict(note) for note in self.notes]}
        return {"ledger": self.scheduler.to_json(), "evaluation_due": self.evaluation_due} | more

    @classmethod
    def from_json(cls, content: Json) -> "DownpourState":
        """Return what `to_json` was made from."""
        notes = content.get("notes", ())
        return cls(
            SchedulerState.from_json(content["ledger"]),
            bool(content["evaluation_due"]),
            tuple(map(int, content.get("unpushed", ()))),
            tuple(Note(**note | {"portion": portion_of_json(note["portion"])}) for note in notes),
        )


@dataclass(frozen=True)
class SandblasterState:
    """A run of Sandblaster at an iterate.

    Parameters
    ----------
    optimizer
        `OptimizerState.state`; None before the first pass.
    method
        `Method.state`; empty where it has to begin anew.
    vectors
        The numbers of the vectors that are saved besides the parameters.
    settings, batches
        `batch.fingerprint` of the method, and what identifies the samples.
    pass_number
        Of the last pass.
    sample
        Number of the sample.
    tally
        `Tally.state`.
    commands_s
        Seconds spent in vector operations.
    evaluation_due
        Whether an evaluation was still to be made.
    """

    optimizer: Mapping[str, Any] | None
    method: Mapping[str, Any]
    vectors: Sequence[int]
    settings: Mapping[str, Any]
    batches: Mapping[str, Any]
    pass_number: int
    sample: int
    tally: Mapping[str, Any]
    commands_s: float
    evaluation_due: bool

    def to_json(self) -> Json:
        """Return it as JSON can hold it."""
        return {_STORED.get(name, name): value for name, value in vars(self).items()}

    @classmethod
    def from_json(cls, content: Json) -> "SandblasterState":
        """Return what `to_json` was made from."""
        stored = dict(content)
        return cls(pass_number=int(stored.pop(_STORED["pass_number"])), **stored)


_STORED = {"pass_number": "evaluation"}


@dataclass(frozen=True)
class RunState:
    """All that the coordinator needs to go on: one algorithm is at work, the other is None."""

    log: LogState
    stopping: StoppingState
    downpour: DownpourState | None = None
    sandblaster: SandblasterState | None = None

    @property
    def algorithm(self) -> str:
        """The name of the algorithm at work."""
        return "downpour" if self.downpour is not None else "sandblaster"

    @property
    def examples(self) -> int:
        """How many had been learned from."""
        return self.log.examples + (self.downpour.examples_since if self.downpour is not None else 0)

    def to_json(self) -> Json:
        """Return it as JSON can hold it, by the names on disk."""
        at_work = self.downpour or self.sandblaster
        content = {} if at_work is None else {self.algorithm: at_work.to_json()}
        return content | {"book": asdict(self.log), "stopping": asdict(self.stopping)}

    @classmethod
    def from_json(cls, content: Json) -> "RunState":
        """Return what `to_json` was made from.

        Raises
        ------
        KeyError, TypeError, ValueError
            `content` was not.
        """
        log, downpour, sandblaster = content["book"], content.get("downpour"), content.get("sandblaster")
        evaluation, service = EvaluationSums(**log["last_evaluation"]), ServiceTotals(**log["service"])
        return cls(
            LogState(**log | {"last_evaluation": evaluation, "service": service}),
            StoppingState(**content["stopping"]),
            DownpourState.from_json(downpour) if downpour is not None else None,
            SandblasterState.from_json(sandblaster) if sandblaster is not None else None,
        )
