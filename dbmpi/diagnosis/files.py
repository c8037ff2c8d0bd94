"""Is what the run leaves whole, and what do checkpoints cost? Pure."""

from collections.abc import Iterator

import numpy as np

from dbmpi.diagnosis.evidence import Evidence
from dbmpi.diagnosis.finding import Finding, graded

STALLS = (
    0.05  # of the training time stood still for checkpoints: a copy in memory takes hundredths of a second
)
STALLS_BAD = 0.3  # of the time
LEAST_S = 30.0  # of training, before that is judged: a short run has its last checkpoint too


def judge(evidence: Evidence) -> Iterator[Finding]:
    """Say what could not be written, shown or read, and how long checkpoints stop training."""
    yield from _unwritten(evidence)
    yield from _stalls(evidence)
    if unshown := evidence.summary.get("unshown"):
        text = "Not everything that the run had to say could be shown."
        yield Finding(
            "output", "note", text, "; ".join(map(str, unshown)) if isinstance(unshown, list) else ""
        )
    if evidence.run.problems:
        text = "Not everything that the run has left could be read."
        yield Finding("output", "note", text, "; ".join(evidence.run.problems))


def _unwritten(evidence: Evidence) -> Iterator[Finding]:
    events = evidence.judged("event").only(lambda row: "could not be taken" in str(row.get("text")))
    if len(events):
        text = "A checkpoint could not be taken."
        remedy = "make room on the disk of the run directory (--run-dir)"
        yield Finding("output", "warning", text, str(events.rows[-1].get("text")), remedy, 0.5)


def _stalls(evidence: Evidence) -> Iterator[Finding]:
    stalled_s = float(np.nansum(evidence.judged("checkpoint").column("stall_s")))
    share = stalled_s / evidence.train_s if evidence.train_s >= LEAST_S else 0.0
    if severity := graded(share, STALLS, STALLS_BAD):
        text = f"Training stands still for checkpoints for {share:.0%} of its time."
        figure = f"{stalled_s:.1f} s of {evidence.train_s:.0f} s"
        yield Finding("output", severity, text, figure, "raise checkpoint.every_s", share)
