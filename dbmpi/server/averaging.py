"""An average of the parameters, which a shard keeps as one more state of its rule (`train.average`).

After every update t of a piece at first, and after every `EVERY`th of them once there were `DENSE`, the
parameters w are mixed into the average a, which begins as the first ones:

    a := a + (1 - min(d, (1 + t) / (10 + t))^k) (w - a)        k updates since the last time

So a memory-bound step costs little more. Long runs have the exponential average of decay d, an update; in
short ones, and at first, it reaches back over a tenth of the updates that there were, so that the first
parameters are soon forgotten.

References
----------
Polyak and Juditsky, SIAM J. Control Optim. 1992: averages of iterates. Shamir and Zhang, ICML 2013, section
4: weights that grow as a power of t, here the 8th. TensorFlow, `ExponentialMovingAverage(num_updates)`: the
same, until d is less.
"""

from collections.abc import Sequence
from dataclasses import replace

from dbmpi.arrays import Array
from dbmpi.checkpoint.vector_names import AVERAGE
from dbmpi.server.rules import Bounds, Rule, Since

DENSE = 256  # updates after each of which the parameters count
EVERY = 16  # later: a pass over memory that would cost a third of an update costs a fiftieth


def share(decay: float, t: int) -> float:
    """Return the share of the parameters in the average after update t, from 1; 0: it stays as it is."""
    updates = 1 if t <= DENSE else EVERY
    return 0.0 if t % updates else 1.0 - min(decay, (1 + t) / (10 + t)) ** updates


def averaged(rule: Rule, decay: float | None) -> Rule:
    """Return a rule that also averages; the rule itself where `decay` is None."""
    return rule if decay is None else _averaged(rule, decay)


def _averaged(rule: Rule, decay: float) -> Rule:
    from kernels.parameters import rules

    def apply(
        w: Array,
        g: Array,
        states: Sequence[Array],
        rate: float,
        t: int,
        out: Array | None = None,
        since: Since | None = None,
    ) -> None:
        rule.apply(w, g, states[:-1], rate, t, out, since)
        part = share(decay, t)
        if part:
            rules.move_towards(states[-1], w, part)

    def bound(
        bounds: Bounds, g: float, rate: float, t: int, since: Since | None = None
    ) -> tuple[Bounds, float]:
        *others, a = bounds
        after, met = rule.bounds(tuple(others), g, rate, t, since)
        return (*after, max(a, after[0])), max(met, a + after[0])

    return replace(rule, states=(*rule.states, AVERAGE), apply=apply, bounds=bound, averages=True)
