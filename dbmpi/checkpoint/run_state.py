"""Where a run stands, as a checkpoint holds it: plain records. Pure.

`to_json` and `from_json` keep the names that format 1 has on disk. Three of them differ from those of the
program: `book` is the metrics log, `ledger` the scheduler of portions, `evaluation` the number of a pass.
What is read is checked by the annotations here (`dbmpi.typed`); a field with a default may be absent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any

from dbmpi.checkpoint.scheduler_state import (
    Json,
    SchedulerState,
    settled,
    settled_portion,
    with_plans,
)
from dbmpi.checkpoint.stored_shapes import (
    MethodNumbers,
    OptimizerNumbers,
    SettingsNumbers,
    TallyNumbers,
)
from dbmpi.comm.assignments import Note
from dbmpi.output.totals import LogState
from dbmpi.typed import Limits, Unlike, build, named

_STORED = {"pass_number": "evaluation"}


@dataclass(frozen=True)
class EpochSums:
    """Sums of the training loss over an epoch under way, and over its end."""

    loss_sum: Annotated[float, Limits(finite=False)] = 0.0
    examples: float = 0.0
    last_loss_sum: Annotated[float, Limits(finite=False)] = 0.0
    last_examples: float = 0.0

    def plus(self, loss: float, examples: float, end: float) -> "EpochSums":
        """Return them with the mean loss of more examples; those that reach beyond `end` are of its end."""
        last = examples if self.examples + examples > end else 0.0
        return EpochSums(
            self.loss_sum + loss * examples,
            self.examples + examples,
            self.last_loss_sum + loss * last,
            self.last_examples + last,
        )

    @property
    def loss(self) -> float:
        """Mean loss."""
        return self.loss_sum / self.examples

    @property
    def last_loss(self) -> float:
        """Mean loss of the end."""
        return self.last_loss_sum / self.last_examples


@dataclass(frozen=True)
class StoppingState:
    """What losses are compared with, and what has been seen of them.

    Parameters
    ----------
    first_loss
        Loss of the first parameters (in checkpoints without `epoch`: mean loss of the first portion).
    beyond
        How many losses in a row were beyond the limit.
    epoch
        Sums over the epoch under way.
    learned, told
        Whether the last epoch was better than chance, and whether it was told that one was not.
    best, fruitless
        With patience, the best score of an evaluation, and how many have come since that were not better.
    """

    first_loss: float | None
    beyond: int
    epoch: EpochSums = EpochSums()
    learned: bool | None = None
    told: bool = False
    best: float | None = None
    fruitless: int = 0


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

    scheduler: SchedulerState = field(metadata=named("ledger"))
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
        """Return what `to_json` was made from. Raises Unlike."""
        return build(cls, _with_plans(content), "downpour").settled()

    def settled(self) -> "DownpourState":
        """Return it with plans as portions are looked up by. Raises Unlike: see `scheduler_state.settled`."""
        notes = tuple(replace(note, portion=settled_portion(note.portion)) for note in self.notes)
        return replace(self, scheduler=settled(self.scheduler), notes=notes)


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

    optimizer: Annotated[Mapping[str, Any], OptimizerNumbers] | None
    method: Annotated[Mapping[str, Any], MethodNumbers]
    vectors: Sequence[int]
    settings: Annotated[Mapping[str, Any], SettingsNumbers]
    batches: Mapping[str, Any]
    pass_number: int = field(metadata=named(_STORED["pass_number"]))
    sample: int
    tally: Annotated[Mapping[str, Any], TallyNumbers]
    commands_s: float
    evaluation_due: bool

    def to_json(self) -> Json:
        """Return it as JSON can hold it."""
        return {_STORED.get(name, name): value for name, value in vars(self).items()}


@dataclass(frozen=True)
class RunState:
    """All that the coordinator needs to go on: one algorithm is at work, the other is None."""

    log: LogState = field(metadata=named("book"))
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
        Unlike
            `content` was not.
        """
        if isinstance(content, Mapping) and "downpour" in content:
            content = {**content, "downpour": _with_plans(content["downpour"])}
        state = build(cls, content, "state")
        if (state.downpour is None) == (state.sandblaster is None):
            raise Unlike("state is not that of one algorithm")
        return state if state.downpour is None else replace(state, downpour=state.downpour.settled())


def _with_plans(downpour: Any) -> Any:
    """Return the table of a `DownpourState` whose portions have plans, if it is a table of some kind."""
    if not isinstance(downpour, Mapping) or "ledger" not in downpour:
        return downpour
    return {**downpour, "ledger": with_plans(downpour["ledger"])}
