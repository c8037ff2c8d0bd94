"""Is it held back by the boundaries between the partitions of a replica? Pure."""

from collections.abc import Iterator

from dbmpi.diagnosis.evidence import Evidence
from dbmpi.diagnosis.finding import Finding, graded
from dbmpi.diagnosis.shares import BOUNDARY, Shares

WAITS = 0.5  # of the partitions' time: two partitions are then no faster than one
WAITS_BAD = 0.75  # of the time: four are no faster than one


def judge(evidence: Evidence, shares: Shares) -> Iterator[Finding]:
    """Say how long partitions wait for one another."""
    if not shares.known or evidence.partitions == 1:
        return
    waits = shares.of_causes(BOUNDARY)
    worst = max(BOUNDARY, key=lambda cause: shares.waits.get(cause, 0.0))
    figure = f"{waits:.0%} of their time, {shares.waits.get(worst, 0.0):.0%} of it for {worst}"
    if severity := graded(waits, WAITS, WAITS_BAD):
        text = f"Partitions of a replica wait {waits:.0%} of their time for one another."
        remedy = "lower cluster.partitions, raise train.minibatch, or try another cluster.grid"
        yield Finding("boundary", severity, text, figure, remedy, waits)
    else:
        yield Finding(
            "boundary", "good", f"Partitions wait {waits:.0%} of their time for one another.", figure
        )
