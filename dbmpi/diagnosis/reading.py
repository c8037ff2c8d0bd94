"""Is it held back by the data file? By how long partitions wait for rows. Pure."""

from collections.abc import Iterator

from dbmpi.diagnosis.evidence import Evidence
from dbmpi.diagnosis.finding import Finding, graded
from dbmpi.diagnosis.shares import DATA, Shares

WAITS = 0.15  # of the partitions' time: rows are read ahead, so that a healthy run waits some hundredths
WAITS_BAD = 0.4  # of the time: reading takes longer than computing
STORED = (
    "store the rows uncompressed, in chunks of whole rows and in a small type (python -m dbmpi.prepare), "
    "on a disk of the node"
)


def judge(evidence: Evidence, shares: Shares) -> Iterator[Finding]:
    """Say how long partitions wait for the data file."""
    if not shares.known:
        return
    waits = shares.of_causes(DATA)
    figure = f"{waits:.0%} of the partitions' time is spent waiting for rows"
    if severity := graded(waits, WAITS, WAITS_BAD):
        text = f"It is held back by the data file: partitions wait {waits:.0%} of their time for it."
        keeps = evidence.algorithm == "sandblaster"
        remedy = f"raise sandblaster.memory_mb, or {STORED}" if keeps else STORED
        yield Finding("input", severity, text, figure, remedy, waits)
    else:
        yield Finding("input", "good", "The data file is read fast enough.", figure)
