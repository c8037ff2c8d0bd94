"""The shapes of the tables in a `RunState` that other packages make of their own state. Pure.

They lie above this one, so that what they make is described here a second time, to be checked (`dbmpi.typed`)
before any of it is used.
"""

from collections.abc import Sequence
from typing import Annotated, Literal, TypedDict

from dbmpi.typed import Limits

Measured = Annotated[float, Limits(finite=False)]  # of a run that fails it is not finite
Square = Annotated[float, Limits(0.0, finite=False)]


class PlanNumbers(TypedDict):
    """`PortionPlan.numbers`."""

    rows: int
    minibatch: int
    replicas: int
    seed: int
    portion_minibatches: int | Literal["auto"]
    chunk_rows: int | None


class DirectionNumbers(TypedDict):
    """`direction.Direction`."""

    terms: Sequence[tuple[Measured, int]]
    slope: Measured
    norm: Measured
    alpha: Measured


class IterateNumbers(TypedDict):
    """`optimizer_state.Iterate`."""

    loss: Measured
    gg: Square
    xx: Square
    direction: DirectionNumbers


class OptimizerNumbers(TypedDict):
    """`OptimizerState.state`."""

    first_loss: Measured
    number: int
    decrease: Measured
    level: bool
    at: IterateNumbers | None


class LBFGSNumbers(TypedDict):
    """`LBFGS.state`."""

    kept: Sequence[int]
    new: int | None
    products: Sequence[tuple[int, int, Measured]]
    slope: Measured | None


class ConjugateGradientNumbers(TypedDict):
    """`ConjugateGradient.state`."""

    slope: Measured | None
    gg: Square


class NoNumbers(TypedDict):
    """Of a method that begins anew."""


class TallyNumbers(TypedDict):
    """`Tally.state`."""

    done: Sequence[int]
    won: Sequence[int]
    lost: Sequence[int]
    copies: int
    copies_used: int
    passes_s: float
    busy_s: float


class SettingsNumbers(TypedDict):
    """`batch.fingerprint`."""

    method: str
    history: int
    sampled: bool


MethodNumbers = LBFGSNumbers | ConjugateGradientNumbers | NoNumbers
