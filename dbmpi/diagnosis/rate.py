"""Is the learning rate far too high? By what it does to the loss and to gradients. Pure.

A rate that is too high shows in one of these: the loss shoots up and may fall again later; it swings; it has
risen; gradients become infinite; units die, and with them the gradient, at the loss of chance. What old
gradients do looks alike: see `staleness`.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from dbmpi.diagnosis.age import is_harmful
from dbmpi.diagnosis.curve import LEAST_POINTS, Curve
from dbmpi.diagnosis.evidence import Evidence
from dbmpi.diagnosis.finding import Finding, graded
from dbmpi.diagnosis.refusals import refused_share

SHOT_UP = 2.0  # times the loss of the first parameters, or of chance if that is larger: first steps in vain
SWINGS = 0.25  # of chance: the usual change of the loss from a record to the next, in the later half
NOT_FINITE = (
    0.01  # of the pushes refused as not finite: a healthy run has none, one in a hundred is no accident
)
NOT_FINITE_BAD = 0.1  # of the pushes: a tenth of the work is thrown away, and the rest is near the edge
DEAD = 1e-3  # of the largest gradient norm: no gradient is left, though nothing was learned
REMEDY = "lower downpour.learning_rate, three to ten times at first"
GENTLY = ", give it a warm-up (downpour.schedule.warmup_epochs), or set downpour.max_gradient_norm"


def judge(evidence: Evidence, curve: Curve) -> Iterator[Finding]:
    """Say what shows that the rate is too high; a batch method has none."""
    if evidence.algorithm == "sandblaster":
        return
    found = [*_spoilt(evidence, curve), *_refused(evidence), *_shot_up(curve), *_swings(curve)]
    if found:
        worst = min(found, key=lambda one: one.rank)
        yield replace(worst, severity="warning") if is_harmful(evidence) else worst


def _spoilt(evidence: Evidence, curve: Curve) -> Iterator[Finding]:
    """Yield what a loss shows that has not come down."""
    if curve.outcome == "diverged":
        seen = str(evidence.summary.get("diverged_by") or "the training loss is not finite")
        yield _finding("bad", "The learning rate is far too high: the run has diverged.", seen, 1.0)
    elif curve.outcome == "stuck" and (dead := _dead(evidence)):
        yield _finding(
            "bad", "The learning rate was too high: it has left units that answer nothing.", dead, 1.0
        )
    elif curve.outcome in ("spoilt", "risen"):
        severity = "bad" if curve.outcome == "spoilt" else "warning"
        figure = f"lowest {curve.best:.3g}, now {curve.last:.3g}"
        yield _finding(
            severity, "The learning rate is too high: what was learned is lost again.", figure, 0.9
        )


def _dead(evidence: Evidence) -> str:
    """Return how the gradient has vanished; nothing if it has not, or is not known."""
    norms = evidence.run.records("train").valid.column("gradient_norm")
    norms = norms[np.isfinite(norms)]
    if len(norms) < LEAST_POINTS or not norms[-1] <= DEAD * norms.max():
        return ""
    return f"the norm of the gradient has fallen from {norms.max():.3g} to {norms[-1]:.3g}"


def _refused(evidence: Evidence) -> Iterator[Finding]:
    share = refused_share(evidence, "not_finite")
    if severity := graded(share, NOT_FINITE, NOT_FINITE_BAD):
        text = "The learning rate is far too high: gradients become too large to compute with."
        yield _finding(
            severity, text, f"{share:.1%} of the pushes were refused as not finite", 0.5 + share / 2
        )


def _shot_up(curve: Curve) -> Iterator[Finding]:
    """Yield whether the loss was far above that of the first parameters: bad where it stays above chance."""
    start = curve.start
    if len(curve.losses) < 2 or not start > 0 or curve.peak < SHOT_UP * start or curve.peak == np.inf:
        return
    text = "The learning rate is too high: the loss has shot up."
    figure = f"up to {curve.peak:.3g}, where it began at {start:.3g}"
    yield _finding("bad" if curve.outcome == "stuck" else "warning", text, figure, 0.5)


def _swings(curve: Curve) -> Iterator[Finding]:
    later = curve.losses[len(curve.losses) // 2 :]
    if len(later) < LEAST_POINTS or not np.isfinite(later).all():
        return
    swing = float(np.median(np.abs(np.diff(later))))
    if swing >= SWINGS * curve.reference > 0:
        text = "The learning rate is too high: the loss swings instead of falling."
        yield _finding("warning", text, f"it changes by {swing:.3g} from record to record", 0.4)


def _finding(severity: str, text: str, figure: str, weight: float) -> Finding:
    return Finding("rate", "bad" if severity == "bad" else "warning", text, figure, REMEDY + GENTLY, weight)
