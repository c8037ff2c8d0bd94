"""An average of the parameters, which a shard keeps as one more state of its rule (`train.average`).

The parameters w are mixed into the average a, which begins as the first ones, after update t of a piece:

    a := a + (1 - min(d, (1 + t) / (10 + t))^k) (w - a)        k updates since the last time

A long run has the exponential average of decay d, an update; a short one, and each at first, a mean of the
last tenth of the updates that there were, so that the first parameters are soon forgotten. Adam's correction,
a mean of all of them, is worse than no average there (docs/performance.md). k is 1 up to update `DENSE` and
then as large as makes no difference, as each time costs a third of an update.

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

DENSE = 512  # updates after each of which the parameters count
EVERY = 32  # of the later ones, at most: a hundredth of an update each
SAMPLES = 3  # of the 1 / (1 - d) updates that an average is of, at least


def share(decay: float, t: int) -> float:
    """Return the share of the parameters in the average after update t, from 1; 0: it stays as it is."""
    updates = 1 if t <= DENSE else _interval(decay)
    return 0.0 if (t - DENSE) % updates else 1.0 - min(decay, (1 + t) / (10 + t)) ** updates


def _interval(decay: float) -> int:
    return max(1, min(EVERY, int(1 / (SAMPLES * (1 - decay)))))


def averaged(rule: Rule, decay: float | None) -> Rule:
    """Return a rule that also averages; the rule itself where `decay` is None."""
    return rule if decay is None else _averaged(rule, decay)


def _averaged(rule: Rule, decay: float) -> Rule:
    from kernels.parameters import rules

    plain, plain_bound, interval = rule.apply, rule.bounds, _interval(decay)

    def apply(
        w: Array,
        g: Array,
        states: Sequence[Array],
        rate: float,
        t: int,
        out: Array | None = None,
        since: Since | None = None,
    ) -> None:
        plain(w, g, states[:-1], rate, t, out, since)
        if t <= DENSE or (t - DENSE) % interval == 0:  # seldom: all else is paid by every update
            rules.move_towards(states[-1], w, share(decay, t))

    def bound(
        bounds: Bounds, g: float, rate: float, t: int, since: Since | None = None
    ) -> tuple[Bounds, float]:
        after, met = plain_bound(bounds[:-1], g, rate, t, since)
        w, a = after[0], bounds[-1]
        return (*after, a if a > w else w), max(met, a + w)

    return replace(rule, states=(*rule.states, AVERAGE), apply=apply, bounds=bound, averages=True)
