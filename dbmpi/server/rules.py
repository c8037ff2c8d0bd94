"""The learning rules that run on the shards: which states each keeps, how it is applied, what can come of it.

References
----------
Adagrad: Dean et al. 2012, section 4.1. The loops are in `kernels.parameters.rules` and, for AdaRevision,
`kernels.parameters.revision`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import sqrt
from typing import NamedTuple, Protocol

from dbmpi.arrays import Array
from dbmpi.checkpoint.vector_names import AVERAGE_VECTOR, PARAMETER_VECTOR, rule_vector
from dbmpi.config.algorithms import REVISING, Downpour


class Since(NamedTuple):
    """What happened since the parameters that a gradient was computed from, for a rule that revises.

    `value` is these parameters, with no magnitude above `bound`; None where they are those of this moment, or
    unknown. `rate` is the mean rate of the updates since. A rule adds to `sums` the sums of the magnitudes of
    what it takes back, and of its steps.
    """

    value: Array | None
    rate: float
    bound: float
    sums: Array


class Apply(Protocol):
    """How a rule is applied."""

    def __call__(
        self,
        w: Array,
        g: Array,
        states: Sequence[Array],
        rate: float,
        t: int,
        out: Array | None = None,
        since: Since | None = None,
    ) -> None:
        """Update the slice `w` and its `states` in place by the gradient `g`.

        `t` is the number of this update of the slice, from 1. The new `w` is also written to `out`,
        where it is given, in the same pass. A rule that revises looks at `since`; None says nothing.
        """


Bounds = tuple[float, ...]  # at least the largest magnitude in w, and in each state


class Bound(Protocol):
    """What an update can come to, by the formula of the rule."""

    def __call__(
        self, bounds: Bounds, g: float, rate: float, t: int, since: Since | None = None
    ) -> tuple[Bounds, float]:
        """Return the bounds after update number `t` by a gradient of no magnitude above `g`.

        The second number is at least the largest that is met on the way. Infinity where float64 ends.
        """


@dataclass(frozen=True)
class Rule:
    """A learning rule with its constants: the names of its states, and how it is applied.

    `bounds` says what an update can come to; `growth` by which factor, at most, update number t multiplies
    a state that it has computed; `start` is the first value of every element of the states. Whether a rule
    `revises` says that it needs to know from which parameters a gradient was computed; whether it `averages`,
    that the last state is an average of the parameters, and begins as they do.
    """

    states: tuple[str, ...]
    apply: Apply
    bounds: Bound
    growth: Callable[[int], float]
    start: float = 0.0
    revises: bool = False
    averages: bool = False


LEAST_RATE = 1e-30
NO_SQUARE = 1e-22  # smaller numbers have a square that float32 rounds to 0

STATES: dict[str, tuple[str, ...]] = {
    "sgd": (),
    "momentum": ("velocity",),
    "adagrad": ("squares",),
    "adam": ("mean", "mean_square"),
    "adarevision": ("revised_squares", "squares"),  # the second, as Adagrad's, is what the steps go by
}
# What a state begins as where a checkpoint has only that vector: the run was begun with another rule.
BEGINS_AS = {rule_vector("revised_squares"): rule_vector("squares"), AVERAGE_VECTOR: PARAMETER_VECTOR}
ACCUMULATE = ("adagrad", "adarevision")  # squares, from `downpour.initial_accumulator` on


def make(config: Downpour) -> Rule:
    """Return the rule that `downpour.rule` names."""
    from kernels.parameters import rules  # Numba: only here, as the names of the states are wanted without it

    start = config.initial_accumulator if config.rule in ACCUMULATE else 0.0
    if config.rule in REVISING:
        bounds = partial(_adarevision, config)
        return Rule(
            STATES[config.rule], _revising(config.epsilon), bounds, lambda t: 1.0, start, revises=True
        )
    kernels: dict[str, tuple[Callable[..., None], Callable[..., None], tuple[float, ...]]] = {
        "sgd": (rules.sgd, rules.sgd_out, ()),
        "momentum": (rules.momentum, rules.momentum_out, (config.momentum,)),
        "adagrad": (rules.adagrad, rules.adagrad_out, (config.epsilon,)),
        "adam": (rules.adam, rules.adam_out, (config.beta1, config.beta2, config.epsilon)),
    }
    plain, copying, constants = kernels[config.rule]
    bound = {"sgd": _sgd, "momentum": _momentum, "adagrad": _adagrad, "adam": _adam}[config.rule]
    return Rule(
        STATES[config.rule],
        _apply(plain, copying, constants, counts=config.rule == "adam"),
        partial(bound, config),
        lambda t: 1 / (1 - config.beta2**t) if config.rule == "adam" else 1.0,
        start,
    )


# Each returns what `Bound` says; w, v, a and m are the letters of the kernels.


def _sgd(
    config: Downpour, bounds: Bounds, g: float, rate: float, t: int, since: Since | None = None
) -> tuple[Bounds, float]:
    (w,), step = bounds, rate * g
    return (w + step,), max(rate, step)


def _momentum(
    config: Downpour, bounds: Bounds, g: float, rate: float, t: int, since: Since | None = None
) -> tuple[Bounds, float]:
    w, v = bounds
    v = config.momentum * v + g
    return (w + rate * v, v), max(rate, rate * v)


def _adagrad(
    config: Downpour, bounds: Bounds, g: float, rate: float, t: int, since: Since | None = None
) -> tuple[Bounds, float]:
    w, a = bounds
    ratio = 1 + NO_SQUARE / config.epsilon  # of g to the divisor, which is epsilon where g has no square
    return (w + rate * ratio, a + g * g), max(rate, rate * g)


def _adam(
    config: Downpour, bounds: Bounds, g: float, rate: float, t: int, since: Since | None = None
) -> tuple[Bounds, float]:
    w, m, v = bounds
    m, v = max(m, g), config.beta2 * v + (1 - config.beta2) * g * g
    rate_t, grown = rate / (1 - config.beta1**t), v / (1 - config.beta2**t)
    return (w + rate_t * m / config.epsilon, m, v), max(rate_t, rate_t * m, g * g, grown)


def _adarevision(
    config: Downpour, bounds: Bounds, g: float, rate: float, t: int, since: Since | None = None
) -> tuple[Bounds, float]:
    w, z, a = bounds
    far, per_rate, old = 0.0, 0.0, 0.0
    if since is not None and since.value is not None:
        old, per_rate = since.bound, _inverse(since.rate)
        far = w + old
    b = far * (sqrt(a) + config.epsilon) * per_rate
    total = z + g * (g + 2 * b)
    ratio = 1 + NO_SQUARE / config.epsilon  # as above
    met = max(rate, rate * g, far, per_rate, b, g + 2 * b, total)
    return (max(w, old) + rate * ratio, total, max(a, total, g * g)), met


def _inverse(rate: float) -> float:
    """Return 1 / rate, or 0 for a rate that is as good as none: no step was made at it."""
    return 1 / rate if rate > LEAST_RATE else 0.0


def _apply(
    plain: Callable[..., None], copying: Callable[..., None], constants: tuple[float, ...], counts: bool
) -> Apply:
    """Join the two kernels of a rule; `counts` says that they take `t` after the constants."""

    def apply(
        w: Array,
        g: Array,
        states: Sequence[Array],
        rate: float,
        t: int,
        out: Array | None = None,
        since: Since | None = None,
    ) -> None:
        given = (w, g, *states, rate, *constants, *((t,) if counts else ()))
        if out is None:
            plain(*given)
        else:
            copying(*given, out)

    return apply


def _revising(epsilon: float) -> Apply:
    """Join the kernels of AdaRevision: for gradients from known older parameters, and for others."""
    import numpy as np

    from kernels.parameters import revision

    def apply(
        w: Array,
        g: Array,
        states: Sequence[Array],
        rate: float,
        t: int,
        out: Array | None = None,
        since: Since | None = None,
    ) -> None:
        copy = () if out is None else (out,)
        if since is None or since.value is None:
            kernel = revision.adarevision_fresh if out is None else revision.adarevision_fresh_out
            sums = since.sums if since is not None else np.zeros(2)
            kernel(w, g, *states, rate, epsilon, sums, *copy)
        else:
            kernel = revision.adarevision if out is None else revision.adarevision_out
            kernel(w, g, *states, since.value, rate, _inverse(since.rate), epsilon, since.sums, *copy)

    return apply


def local_rate(config: Downpour) -> float:
    """Return the fixed rate at which a replica steps its own copy between fetches.

    "auto" is the learning rate itself for sgd, and a tenth of it for the other rules: the paper
    finds the best gamma of Adagrad about ten times the best fixed rate (section 4.1).
    """
    if config.local_rate != "auto":
        return float(config.local_rate)
    return config.learning_rate if config.rule == "sgd" else config.learning_rate / 10
