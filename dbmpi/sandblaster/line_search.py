"""How far to go along a direction: a line search for the strong Wolfe conditions. Pure.

With phi(alpha) = f(x + alpha p), a step length alpha is taken when it decreases f enough and when the slope
there is flat enough (Nocedal & Wright, Numerical Optimization, 2nd ed., equations 3.7):

    phi(alpha) <= phi(0) + c1 alpha phi'(0)    and    |phi'(alpha)| <= c2 |phi'(0)|

The search is Algorithm 3.5 (go further until a minimum is enclosed) and Algorithm 3.6 (`zoom` into it), with
three departures:

- Near the optimum the true decrease falls below the rounding of f, and the first condition fails by chance.
  There the slope, which is still good, stands in for it: the approximate Wolfe condition of Hager & Zhang
  (SIAM J. Optim. 16, 2005, section 4), phi'(alpha) <= (2 c1 - 1) phi'(0), allowed while phi(alpha) is within
  `ROUNDING` |phi(0)| of phi(0). Values so close together are not told apart in `zoom` either.
- A point where f or its slope is not finite is too far, and is approached by halves.
- Evaluations are bounded. When they are used up, or the interval has become narrow, the best point is taken
  if f is seen to decrease there: no work is thrown away for want of the second condition.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import copysign, isfinite, nan, sqrt

C1 = 1e-4  # Nocedal & Wright, section 3.1
ROUNDING = 1e-6  # epsilon of Hager & Zhang: in float32 a mean loss is good to 6 or 7 digits
EVALUATIONS = 20  # halved so often, 1e-6 of the first step is left
_GROWTH = (1.1, 10.0)  # how far to extrapolate, in lengths of the last interval
_MARGIN = 0.1  # of the interval, at both of its ends, where `zoom` tries nothing
_NARROW = 1e-3  # an interval of this relative width is no longer worth a pass


@dataclass(frozen=True)
class Trial:
    """A point of the line: phi(alpha) and phi'(alpha)."""

    alpha: float
    phi: float
    slope: float

    @property
    def finite(self) -> bool:
        """Whether it can be compared with."""
        return isfinite(self.phi) and isfinite(self.slope)


def search(line: Callable[[float], Trial], start: Trial, alpha: float, c2: float) -> Trial | None:
    """Return a step length that is good enough, or None when there is none to be found.

    Parameters
    ----------
    line
        Evaluates phi and phi' at one alpha: a pass over the batch. Its last call is at the point returned.
    start
        The point alpha = 0, with phi'(0) < 0.
    alpha
        The first to try.
    c2
        How flat the slope must become: 0.9 for (quasi-)Newton directions, 0.1 for conjugate gradients.
    """
    return _Search(line, start, c2).bracket(alpha)


class _Search:
    """The conditions, the evaluations left, and the two algorithms."""

    def __init__(self, line: Callable[[float], Trial], start: Trial, c2: float) -> None:
        self._line, self._start, self._c2 = line, start, c2
        self._left = EVALUATIONS
        self._last = start

    def bracket(self, alpha: float) -> Trial | None:
        """Go further until a minimum is passed, and zoom (Algorithm 3.5)."""
        previous = self._start
        while self._left:
            trial = self._try(alpha)
            if not self._lower(trial, previous):
                return self._zoom(previous, trial)
            if self._flat(trial):
                return trial
            if trial.slope >= 0:
                return self._zoom(trial, previous)
            alpha = _beyond(previous, trial)
            previous = trial
        return self._settle(previous)

    def _zoom(self, lo: Trial, hi: Trial) -> Trial | None:
        """Find an acceptable point between two, of which `lo` is the lower (Algorithm 3.6)."""
        while self._left and abs(hi.alpha - lo.alpha) > _NARROW * max(hi.alpha, lo.alpha):
            trial = self._try(_on_minibatch(lo, hi, self._noise))
            if not self._lower(trial, lo):
                hi = trial
                continue
            if self._flat(trial):
                return trial
            if trial.slope * (hi.alpha - lo.alpha) >= 0:
                hi = lo
            lo = trial
        return self._settle(lo)

    def _settle(self, best: Trial) -> Trial | None:
        """Take the best point although its slope is steep, if f is seen to decrease, and be there."""
        if best is self._start or not self._decreases(best):
            return None
        return best if best is self._last else self._try(best.alpha)

    def _try(self, alpha: float) -> Trial:
        self._left -= 1
        self._last = self._line(alpha)
        return self._last

    @property
    def _noise(self) -> float:
        return ROUNDING * abs(self._start.phi)

    def _lower(self, trial: Trial, than: Trial) -> bool:
        """Whether f decreases enough, and is lower than at another point, as far as rounding lets one see."""
        if not trial.finite or trial.phi > than.phi + self._noise:
            return False
        near = abs(trial.phi - self._start.phi) <= self._noise
        return self._decreases(trial) or (near and trial.slope <= (2 * C1 - 1) * self._start.slope)

    def _decreases(self, trial: Trial) -> bool:
        start = self._start
        return trial.phi < start.phi and trial.phi <= start.phi + C1 * trial.alpha * start.slope

    def _flat(self, trial: Trial) -> bool:
        return abs(trial.slope) <= self._c2 * abs(self._start.slope)


def _beyond(a: Trial, b: Trial) -> float:
    """Extrapolate from two points that both fall to the right, b the further one."""
    least, most = (b.alpha + growth * (b.alpha - a.alpha) for growth in _GROWTH)
    minimum = _cubic(a, b)
    return min(max(minimum, least), most) if minimum > b.alpha else most


def _on_minibatch(lo: Trial, hi: Trial, noise: float) -> float:
    """Interpolate between two points, at some distance from both."""
    left, right = sorted((lo.alpha, hi.alpha))
    minimum = _cubic(lo, hi)
    if lo.slope * hi.slope < 0 and abs(lo.phi - hi.phi) <= noise:  # of the values only rounding is left
        minimum = lo.alpha - lo.slope * (hi.alpha - lo.alpha) / (hi.slope - lo.slope)
    if not isfinite(minimum):
        return (left + right) / 2
    margin = _MARGIN * (right - left)
    return min(max(minimum, left + margin), right - margin)


def _cubic(a: Trial, b: Trial) -> float:
    """Return the minimum of the cubic through two values and slopes (equation 3.59), NaN if it has none."""
    if a.alpha == b.alpha:
        return nan
    d1 = a.slope + b.slope - 3 * (a.phi - b.phi) / (a.alpha - b.alpha)
    radicand = d1 * d1 - a.slope * b.slope
    if not (isfinite(radicand) and radicand >= 0):
        return nan
    d2 = copysign(sqrt(radicand), b.alpha - a.alpha)
    width = b.slope - a.slope + 2 * d2
    return b.alpha - (b.alpha - a.alpha) * (b.slope + d2 - d1) / width if width else nan
