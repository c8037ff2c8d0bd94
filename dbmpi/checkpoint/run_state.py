"""Where a run stands, as a checkpoint holds it: plain records. Pure.

`to_json` and `from_json` keep the names that format 1 has on disk. Three of them differ from those of the
program: `book` is the metrics log, `ledger` the scheduler of portions, `evaluation` the number of a pass.
What is read is checked by the annotations here (`dbmpi.typed`); a field with a default may be absent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

from dbmpi.checkpoint.stored_shapes import (
    MethodNumbers,
    OptimizerNumbers,
    PlanNumbers,
    SettingsNumbers,
    TallyNumbers,
)
from dbmpi.comm.assignments import Portion
from dbmpi.output.totals import LogState
from dbmpi.typed import Limits, Unlike, build, named

Json = dict[str, Any]
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
    """

    first_loss: float | None
    beyond: int
    epoch: EpochSums = EpochSums()
    learned: bool | None = None
    told: bool = False


@dataclass(frozen=True)
class SchedulerState:
    """What Downpour has handed out, and what is left of the epoch.

    Parameters
    ----------
    examples, steps, epoch
        Handed out so far, and the epoch under way.
    left
        Of each part, the portions [start, stop) that are left of the epoch.
    returned
        Portions to be done again.
    plan
        `PortionPlan.numbers` of the epoch.
    """

    examples: int
    steps: int
    epoch: Annotated[int, Limits(-1)]
    left: Sequence[tuple[int, int]]
    returned: Sequence[Portion]
    plan: Annotated[Mapping[str, Any], PlanNumbers]


@dataclass(frozen=True)
class DownpourState:
    """A run of Downpour, or a warmstart; `evaluation_due`: an evaluation was still to be ordered."""

    scheduler: SchedulerState = field(metadata=named("ledger"))
    evaluation_due: bool

    def to_json(self) -> Json:
        """Return it as JSON can hold it."""
        return {"ledger": asdict(self.scheduler), "evaluation_due": self.evaluation_due}

    @classmethod
    def from_json(cls, content: Json) -> "DownpourState":
        """Return what `to_json` was made from. Raises Unlike."""
        return build(cls, content, "downpour")


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
        state = build(cls, content, "state")
        if (state.downpour is None) == (state.sandblaster is None):
            raise Unlike("state is not that of one algorithm")
        return state
