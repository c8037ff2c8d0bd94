"""One piece as its shard holds it, and the guard that lets no update make it infinite. Without MPI.

A float32 holds no number beyond 3.4e38. A gradient of 1e20 is finite, but its square is not: Adagrad's sum of
squares would be infinite, every step of that parameter 0, and it would never move again. So an update is made
only if all that it computes can be held in the precision of the piece. Upper bounds say so without looking
at an element; where they do not do, the extremes are measured, and where these do not either, the update
is tried on copies.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from dbmpi.arrays import Array
from dbmpi.server.accrued import Accrued
from dbmpi.server.magnitudes import extremes, largest
from dbmpi.server.recent import Recent
from dbmpi.server.rounds import CHUNK, Mean
from dbmpi.server.rules import Bounds, Rule, Since
from dbmpi.server.versions import Version, Versions


@dataclass
class Held:
    """A piece: values, the rule's states, and how many updates it has had.

    `bounds` has a number for the values and for each state that no magnitude in them exceeds, once they are
    known. `versions` has what clients hold, where the rule revises, and `rates` is the sum of the rates of
    all updates in this job. `accrued` has what waits for its step, where one is made for several pushes.
    """

    value: Array
    states: list[Array]
    version: int = 0
    bounds: Bounds | None = None
    rates: float = 0.0
    recent: Recent = field(default_factory=Recent)
    versions: Versions = field(default_factory=Versions)
    accrued: Accrued = field(default_factory=Accrued)

    def count_from(self, version: int) -> None:
        """Go on from a checkpoint or a mirror; the updates that it has had were not refused."""
        self.version, self.bounds, self.versions = version, None, Versions()
        self.recent = Recent(judged=version)

    def since(self, old: Version | None, version: int, sums: Array) -> Since:
        """Return what happened since `version`; `old` is what was kept of it, if something was."""
        if old is None:
            return Since(None, 0.0, 0.0, sums)
        bound = old.bound if old.bound is not None else extremes([old.value])[0]
        return Since(old.value, (self.rates - old.rates) / (self.version - version), bound, sums)

    def update(
        self,
        rule: Rule,
        gradient: Array,
        norm: float,
        rate: float,
        out: Array | None,
        since: Since | None = None,
    ) -> bool:
        """Apply a gradient, unless something that is too large would come of it; return whether it did.

        Parameters
        ----------
        gradient : (n,)
            Finite.
        norm
            At least the largest magnitude in it.
        rate
            Learning rate.
        out : (n,)
            Gets a copy of the new value, in the same pass.
        since
            What happened since the parameters of the gradient, for a rule that revises.
        """
        bounds = self._bounds_after(rule, norm, rate, since)
        if bounds is None:
            return self._try(rule, gradient, rate, out, since)
        self._keep()
        rule.apply(self.value, gradient, self.states, rate, self.version + 1, out, since)
        self._count(rate, bounds)
        return True

    def update_by_mean(self, rule: Rule, mean: Mean, norm: float, rate: float, outs: Sequence[Array]) -> bool:
        """Do as `update` with the mean of several gradients, in one pass; each of `outs` gets a copy."""
        bounds, size = self._bounds_after(rule, norm, rate), len(self.value)
        parts = [(start, min(start + CHUNK, size)) for start in range(0, size, CHUNK)]
        if bounds is None:
            whole = np.concatenate([mean.part(*part).copy() for part in parts])
            if not self._try(rule, whole, rate, None):
                return False
            for out in outs:
                np.copyto(out, self.value)
            return True
        for start, stop in parts:
            here = slice(start, stop)
            value, states = self.value[here], [state[here] for state in self.states]
            first = outs[0][here] if outs else None
            rule.apply(value, mean.part(start, stop), states, rate, self.version + 1, first)
            for out in outs[1:]:
                np.copyto(out[here], value)
        self._count(rate, bounds)
        return True

    def step(self, rule: Rule, average: int, out: Array | None) -> bool:
        """Apply the sum of the accrued pushes over `average`, as `update` does; none is accrued then."""
        gradient = self.accrued.take(average)
        applied = self.update(rule, gradient, self.accrued.norm, self.accrued.rate, out)
        self.accrued.clear()
        return applied

    def _keep(self) -> None:
        """Let clients that hold this version have it on."""
        bound = self.bounds[0] if self.bounds is not None else None
        self.versions.keep(self.version, self.value, self.rates, bound)

    def _count(self, rate: float, bounds: Bounds) -> None:
        """Count an update at a rate, after which nothing exceeds `bounds`."""
        self.version, self.rates, self.bounds = self.version + 1, self.rates + rate, bounds

    def _bounds_after(
        self, rule: Rule, norm: float, rate: float, since: Since | None = None
    ) -> Bounds | None:
        """Return bounds of what an update leaves; None if they do not show that all of it can be held."""
        most = largest(self.value.dtype)
        for bounds in (self.bounds, None):
            if bounds is None and since is not None and since.value is not None:
                since = since._replace(bound=extremes([since.value])[0])
            after, met = rule.bounds(bounds or self._measured(), norm, rate, self.version + 1, since)
            if met <= most and all(bound <= most for bound in after):  # NaN is not
                return after
        return None

    def _measured(self) -> Bounds:
        return extremes([self.value, *self.states])

    def _try(
        self, rule: Rule, gradient: Array, rate: float, out: Array | None, since: Since | None = None
    ) -> bool:
        """Update copies, and keep them if they are in order; how much was revised is not counted then."""
        value, states = self.value.copy(), [state.copy() for state in self.states]
        if since is not None:
            since = since._replace(sums=np.zeros_like(since.sums))
        rule.apply(value, gradient, states, rate, self.version + 1, None, since)
        bounds, most = extremes([value, *states]), largest(value.dtype)
        if not all(bound * rule.growth(self.version + 1) <= most for bound in bounds):
            return False
        self._keep()
        for mine, new in zip([self.value, *self.states], [value, *states], strict=True):
            np.copyto(mine, new)
        if out is not None:
            np.copyto(out, value)
        self._count(rate, bounds)
        return True
