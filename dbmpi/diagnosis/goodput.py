"""What of the run's time was work that counts, and what else it was spent on. Pure."""

from collections.abc import Iterator

import numpy as np

from dbmpi.diagnosis.evidence import Evidence
from dbmpi.diagnosis.finding import Finding, graded
from dbmpi.diagnosis.shares import ORDERS, Shares
from dbmpi.logs.records import number

LEAST_LIFE_S = 120.0  # of a run: in a shorter one the start, some seconds, is a natural part
LOST = 0.5  # of the partitions' time for nothing: waits, starts, work done again
LOST_BAD = 0.8  # of the time
WAITS = 0.2  # of the partitions' time for the next order, evaluations and checkpoints included
WAITS_BAD = 0.5  # of the time
SHORT_PASS_S = 0.1  # of a pass: some messages are then a natural part of it
BATCH_WAITS = 0.3  # of the passes a replica computes nothing: portions are uneven, or too few
BATCH_WAITS_BAD = 0.6  # of the passes


def judge(evidence: Evidence, shares: Shares) -> Iterator[Finding]:
    """Say what share of the time counted, and whether replicas lacked work."""
    yield from _goodput(evidence)
    yield from _orders(evidence, shares)
    yield from _passes(evidence)


def _goodput(evidence: Evidence) -> Iterator[Finding]:
    share, seconds = (number(evidence.summary.get(name)) for name in ("goodput", "available_s"))
    if not np.isfinite(share) or not seconds / evidence.clients >= LEAST_LIFE_S:
        return
    figure = f"goodput {share:.0%} of {seconds:,.0f} s of all partitions; {_spent(evidence)}"
    text = f"Of the time of all partitions {share:.0%} was work that is in the model."
    if severity := graded(1 - share, LOST, LOST_BAD):
        yield Finding("goodput", severity, text, figure, "see what else is found", 1 - share)
    else:
        yield Finding("goodput", "good", text, figure)


def _spent(evidence: Evidence) -> str:
    """Return how long starts took, and what was done again."""
    start_s = sum(job.start_s for job in evidence.run.jobs)
    jobs = len(evidence.run.jobs)
    return f"{jobs} job{'s' * (jobs > 1)}, whose starts took {start_s:.0f} s"


def _orders(evidence: Evidence, shares: Shares) -> Iterator[Finding]:
    waits = shares.of_causes(ORDERS) if evidence.algorithm != "sandblaster" else 0.0
    if severity := graded(waits, WAITS, WAITS_BAD):
        text = f"Replicas wait {waits:.0%} of their time for the next order."
        less = "evaluate and save less often (evaluation.every_epochs, checkpoint.every_s)"
        remedy = f"raise train.portion, or {less}"
        yield Finding("goodput", severity, text, f"{waits:.0%} of the partitions' time", remedy, waits)


def _passes(evidence: Evidence) -> Iterator[Finding]:
    """Judge how long replicas lacked work in the passes of a batch method."""
    iterations = evidence.judged("iteration")
    passes_s, waited_s = (float(np.nansum(iterations.column(name))) for name in ("passes_s", "waited_s"))
    passes = float(np.nansum(iterations.column("evaluations")))
    share = waited_s / passes_s if passes_s >= passes * SHORT_PASS_S > 0 else 0.0
    if severity := graded(share, BATCH_WAITS, BATCH_WAITS_BAD):
        text = f"In {share:.0%} of the passes a replica has nothing to compute."
        figure = f"{waited_s:.1f} s of {passes_s:.1f} s"
        remedy = "raise sandblaster.portions, so that all end together; see that no replica is slow"
        yield Finding("goodput", severity, text, figure, remedy, share)
