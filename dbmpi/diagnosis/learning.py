"""Is it learning? By the training loss, and by that on examples that are held out. Pure."""

from collections.abc import Iterator

import numpy as np

from dbmpi.diagnosis.age import is_harmful
from dbmpi.diagnosis.curve import Curve
from dbmpi.diagnosis.evidence import Evidence
from dbmpi.diagnosis.finding import Finding, Severity
from dbmpi.text import several

BY_HEART = 0.1  # of chance: what the held-out loss has risen from its best, while the training loss fell
BY_HEART_REMEDY = "end earlier (train.patience), take more examples, a smaller network, or a larger model.l2"
DATA = "see that row i of y belongs to row i of x, and that inputs are of the order of 1 (data.scaling)"
RATES = "raise downpour.learning_rate if the loss hardly moves, lower it if it has risen"
BATCH = "lower model.l2 if it is not 0"


def judge(evidence: Evidence, curve: Curve) -> Iterator[Finding]:
    """Say what becomes of the loss."""
    lost = [*_held_out(evidence, curve)]
    yield from lost or [_course(evidence, curve)]


def _course(evidence: Evidence, curve: Curve) -> Finding:
    last, best, chance = curve.last, curve.best, curve.chance
    against = f"; chance is {chance:.3g}" if np.isfinite(chance) else ""
    match curve.outcome:
        case "diverged":
            seen = evidence.summary.get("diverged_by") or "the training loss is not finite"
            text = "The run has diverged: its parameters are no good."
            return Finding(
                "learning", "bad", text, str(seen), _remedy(evidence, "lower downpour.learning_rate"), 1.0
            )
        case "stuck":
            text = "It does not learn: one and the same answer for every example would be as good."
            figure = f"the training loss is {curve.losses[-1] if len(curve.losses) else last:.3g}{against}"
            return Finding("learning", "bad", text, figure, f"{_remedy(evidence, RATES)}; {DATA}", 1.0)
        case "spoilt" | "risen" as outcome:
            text = f"The training loss has risen from its lowest, {best:.3g}, to {last:.3g}."
            severity: Severity = "bad" if outcome == "spoilt" else "warning"
            remedy = _remedy(
                evidence, "lower downpour.learning_rate, or let it fall (downpour.schedule.kind)"
            )
            share = min(1.0, (last - best) / curve.reference)
            return Finding(
                "learning", severity, text, f"lowest {best:.3g}, now {last:.3g}{against}", remedy, share
            )
        case "unknown":
            text = "There is too little to judge whether it learns."
            figure = f"{several(len(curve.losses), 'record')} of the training loss"
            if np.isfinite(last) and np.isfinite(curve.epochs):
                figure += f", which is {last:.3g} after {curve.epochs:.2g} epochs{against}"
            return Finding("learning", "note", text, figure)
        case "little":
            text = f"It has learned little: the training loss is {last:.3g}, near that of chance."
            remedy = f"{_remedy(evidence, RATES)}; {DATA}, unless there is little to learn"
            figure = f"training loss {last:.3g}{against}{_score(curve)}"
            return Finding("learning", "note", text, figure, remedy)
    text = f"It is learning: the training loss has fallen from {curve.start:.3g} to {last:.3g}."
    if not len(curve.losses):
        text = "It has learned: the run says that its training loss has come below that of chance."
    return Finding("learning", "good", text, f"training loss {last:.3g}{against}{_score(curve)}")


def _remedy(evidence: Evidence, otherwise: str) -> str:
    return BATCH if evidence.algorithm == "sandblaster" else otherwise


def _score(curve: Curve) -> str:
    seen = curve.evaluations
    if not len(seen):
        return ""
    accuracy, loss = (seen.column(name)[-1] for name in ("accuracy", "loss"))
    split = seen.rows[-1].get("split", "test")
    return f"; {split} accuracy {accuracy:.1%}" if np.isfinite(accuracy) else f"; {split} loss {loss:.3g}"


def _held_out(evidence: Evidence, curve: Curve) -> Iterator[Finding]:
    """Say whether the held-out loss is no better than chance, or has risen while the training loss fell.

    The training loss is that of the replicas' own copies: with old gradients the shards' parameters may be no
    good meanwhile, which is not learning by heart.
    """
    losses = curve.held_out
    if not len(losses) or curve.outcome not in ("learns", "little"):
        return
    last, best = float(losses[-1]), float(losses.min())
    figure = f"training loss {curve.last:.3g}, held-out loss {last:.3g}, at its best {best:.3g}"
    if curve.fails_held_out and is_harmful(evidence):
        text = "What the replicas learn is lost: the parameters of the shards are no better than chance."
        yield Finding("learning", "bad", text, figure, "see staleness", 1.0)
    elif curve.fails_held_out or last - best >= BY_HEART * curve.reference > 0:
        text = f"It learns by heart: the held-out loss is {last:.3g}, that of training {curve.last:.3g}."
        yield Finding("learning", "warning", text, figure, BY_HEART_REMEDY, 0.5)
