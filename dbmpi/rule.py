"""The learning rules that run on the shards: which states each keeps, and how it is applied.

References
----------
Adagrad: Dean et al. 2012, section 4.1. The loops are in `kernels.rules`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from dbmpi.config import Downpour
from kernels import rules

Array = NDArray[Any]
Apply = Callable[[Array, Array, Sequence[Array], float, int], None]


@dataclass(frozen=True)
class Rule:
    """A learning rule with its constants.

    `apply(w, g, states, rate, t)` updates the slice `w` and `states` in place by the gradient `g`;
    `t` is the number of this update of the slice, from 1.
    """

    states: tuple[str, ...]
    apply: Apply


def make(config: Downpour) -> Rule:
    """Return the rule that `downpour.rule` names."""
    return _MAKERS[config.rule](config)


def _sgd(config: Downpour) -> Rule:
    return Rule((), lambda w, g, states, rate, t: rules.sgd(w, g, rate))


def _momentum(config: Downpour) -> Rule:
    mu = config.momentum
    return Rule(("velocity",), lambda w, g, states, rate, t: rules.momentum(w, g, *states, rate, mu))


def _adagrad(config: Downpour) -> Rule:
    eps = config.epsilon
    return Rule(("squares",), lambda w, g, states, rate, t: rules.adagrad(w, g, *states, rate, eps))


def _adam(config: Downpour) -> Rule:
    beta1, beta2, eps = config.beta1, config.beta2, config.epsilon
    return Rule(
        ("mean", "mean_square"),
        lambda w, g, states, rate, t: rules.adam(w, g, *states, rate, beta1, beta2, eps, t),
    )


_MAKERS: dict[str, Callable[[Downpour], Rule]] = {
    "sgd": _sgd,
    "momentum": _momentum,
    "adagrad": _adagrad,
    "adam": _adam,
}


def local_rate(config: Downpour) -> float:
    """Return the fixed rate at which a replica steps its own copy between fetches.

    "auto" is the learning rate itself for sgd, and a tenth of it for the other rules: the paper
    finds the best gamma of Adagrad about ten times the best fixed rate (section 4.1).
    """
    if config.local_rate != "auto":
        return float(config.local_rate)
    return config.learning_rate if config.rule == "sgd" else config.learning_rate / 10
