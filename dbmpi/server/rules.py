"""The learning rules that run on the shards: which states each keeps, and how it is applied.

References
----------
Adagrad: Dean et al. 2012, section 4.1. The loops are in `kernels.parameters.rules`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from dbmpi.arrays import Array
from dbmpi.config.algorithms import Downpour


class Apply(Protocol):
    """How a rule is applied."""

    def __call__(
        self, w: Array, g: Array, states: Sequence[Array], rate: float, t: int, out: Array | None = None
    ) -> None:
        """Update the slice `w` and its `states` in place by the gradient `g`.

        `t` is the number of this update of the slice, from 1. The new `w` is also written to `out`,
        where it is given, in the same pass.
        """


@dataclass(frozen=True)
class Rule:
    """A learning rule with its constants: the names of its states, and how it is applied."""

    states: tuple[str, ...]
    apply: Apply


STATES: dict[str, tuple[str, ...]] = {
    "sgd": (),
    "momentum": ("velocity",),
    "adagrad": ("squares",),
    "adam": ("mean", "mean_square"),
}


def make(config: Downpour) -> Rule:
    """Return the rule that `downpour.rule` names."""
    from kernels.parameters import rules  # Numba: only here, as the names of the states are wanted without it

    kernels: dict[str, tuple[Callable[..., None], Callable[..., None], tuple[float, ...]]] = {
        "sgd": (rules.sgd, rules.sgd_out, ()),
        "momentum": (rules.momentum, rules.momentum_out, (config.momentum,)),
        "adagrad": (rules.adagrad, rules.adagrad_out, (config.epsilon,)),
        "adam": (rules.adam, rules.adam_out, (config.beta1, config.beta2, config.epsilon)),
    }
    plain, copying, constants = kernels[config.rule]
    return _rule(STATES[config.rule], plain, copying, constants, counts=config.rule == "adam")


def _rule(
    states: tuple[str, ...],
    plain: Callable[..., None],
    copying: Callable[..., None],
    constants: tuple[float, ...],
    counts: bool,
) -> Rule:
    """Join the two kernels of a rule; `counts` says that they take `t` after the constants."""

    def apply(
        w: Array, g: Array, states: Sequence[Array], rate: float, t: int, out: Array | None = None
    ) -> None:
        given = (w, g, *states, rate, *constants, *((t,) if counts else ()))
        if out is None:
            plain(*given)
        else:
            copying(*given, out)

    return Rule(states, apply)


def local_rate(config: Downpour) -> float:
    """Return the fixed rate at which a replica steps its own copy between fetches.

    "auto" is the learning rate itself for sgd, and a tenth of it for the other rules: the paper
    finds the best gamma of Adagrad about ten times the best fixed rate (section 4.1).
    """
    if config.local_rate != "auto":
        return float(config.local_rate)
    return config.learning_rate if config.rule == "sgd" else config.learning_rate / 10
