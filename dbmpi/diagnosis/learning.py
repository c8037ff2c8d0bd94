"""Is it learning? By the training loss, and by that on examples that are held out. Pure."""

from collections.abc import Iterator

import numpy as np

from dbmpi.diagnosis.curve import Curve
from dbmpi.diagnosis.evidence import Evidence
from dbmpi.diagnosis.finding import Finding, Severity
from dbmpi.logs.records import Records

BY_HEART = (
    0.1  # of chance: what the held-out loss lies above its best, where the training loss has gone on falling
)
DATA = "see that row i of y belongs to row i of x, and that inputs are of the order of 1 (data.scaling)"
RATES = "raise downpour.learning_rate if the loss hardly moves, lower it if it has risen"
BATCH = "lower model.l2 if it is not 0"


def judge(evidence: Evidence, curve: Curve) -> Iterator[Finding]:
    """Say what becomes of the loss."""
    yield _course(evidence, curve)
    yield from _held_out(evidence, curve)


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
            return Finding("learning", "note", text, f"{len(curve.losses)} records of the training loss")
    text = f"It is learning: the training loss has fallen from {curve.first:.3g} to {last:.3g}."
    if not len(curve.losses):
        text = "It has learned: the run says that its training loss has come below that of chance."
    return Finding("learning", "good", text, f"training loss {last:.3g}{against}{_score(evidence)}")


def _remedy(evidence: Evidence, otherwise: str) -> str:
    return BATCH if evidence.algorithm == "sandblaster" else otherwise


def _evaluations(evidence: Evidence) -> Records:
    """Return those during the run, of one split: what is watched."""
    found = evidence.run.records("eval").valid
    watched = found.rows[0].get("split") if len(found) else None
    return found.only(lambda row: row.get("split") == watched)


def _score(evidence: Evidence) -> str:
    seen = _evaluations(evidence)
    if not len(seen):
        return ""
    accuracy, loss = (seen.column(name)[-1] for name in ("accuracy", "loss"))
    split = seen.rows[-1].get("split", "test")
    return f"; {split} accuracy {accuracy:.1%}" if np.isfinite(accuracy) else f"; {split} loss {loss:.3g}"


def _held_out(evidence: Evidence, curve: Curve) -> Iterator[Finding]:
    """Say whether the held-out loss has risen while the training loss fell."""
    losses = _evaluations(evidence).column("loss")
    losses = losses[np.isfinite(losses)]
    if len(losses) < 2 or curve.outcome != "learns" or not curve.reference > 0:
        return
    best, last = float(losses.min()), float(losses[-1])
    if last - best >= BY_HEART * curve.reference:
        yield Finding(
            "learning",
            "warning",
            f"It learns by heart: the loss on held-out examples has risen from {best:.3g} to {last:.3g}.",
            f"training loss {curve.last:.3g}, held-out loss {last:.3g}, at its best {best:.3g}",
            "end earlier (train.patience), take more examples, a smaller network, or a larger model.l2",
            min(1.0, (last - best) / curve.reference),
        )
