"""The verdict on a run: all that its records show, worst first. Pure."""

import warnings
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from dbmpi.diagnosis import (
    boundary,
    cores,
    deaths,
    files,
    goodput,
    learning,
    rate,
    reading,
    shards,
    slow_replica,
    staleness,
)
from dbmpi.diagnosis.curve import Curve
from dbmpi.diagnosis.evidence import Evidence
from dbmpi.diagnosis.finding import Finding
from dbmpi.diagnosis.shares import Shares
from dbmpi.logs.run import RunLog

WAITED_FOR = "shards", "boundary"  # what looks slow as well where ranks have no core


def findings(run: RunLog) -> list[Finding]:
    """Return what the records of a run show, worst first; at least one finding.

    The run may go on, have failed, or be of an older version: it is judged by what there is.
    """
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # records may have any numbers, and none
        return _findings(Evidence(run))


def _findings(evidence: Evidence) -> list[Finding]:
    curve, shares = Curve(evidence), Shares.of(evidence)
    found = [*_questions(evidence, curve, shares)]
    if not evidence.enough:
        found.append(_too_little(evidence))
    return sorted(_attributed(evidence, found), key=lambda finding: finding.rank)


def _questions(evidence: Evidence, curve: Curve, shares: Shares) -> Iterator[Finding]:
    """Ask them all."""
    yield from learning.judge(evidence, curve)
    yield from rate.judge(evidence, curve)
    yield from staleness.judge(evidence, curve)
    yield from slow_replica.judge(evidence)
    yield from shards.judge(evidence, shares)
    yield from reading.judge(evidence, shares)
    yield from cores.judge(evidence)
    yield from boundary.judge(evidence, shares)
    yield from goodput.judge(evidence, shares)
    yield from deaths.judge(evidence)
    yield from files.judge(evidence)


def _too_little(evidence: Evidence) -> Finding:
    text = "There is too little to judge where the time goes."
    figure = f"{evidence.train_s:.1f} s of training, {evidence.minibatches:,.0f} minibatches are recorded"
    return Finding("goodput", "note", text, figure)


def _attributed(evidence: Evidence, found: list[Finding]) -> list[Finding]:
    """Call waits a note where ranks mostly lack cores as there are too many of them: all wait for a core.

    What others take of the cores slows down all ranks alike: then waits tell as much as ever.
    """
    crowded = cores.lacking(evidence) == "bad" and not cores.computing_per_core(evidence) <= 1.0
    waits = [one for one in found if crowded and one.about in WAITED_FOR and one.alarms]
    return [replace(one, severity="note") if one in waits else one for one in found]
