"""Who has died, and what was lost with them. Pure."""

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from dbmpi.diagnosis.evidence import Evidence
from dbmpi.diagnosis.finding import Finding, Severity
from dbmpi.logs.records import number
from dbmpi.text import several

LOST = 0.01  # of the examples, whose learning was lost with ranks: more than an epoch's order changes
DIED = re.compile(r"\b(has left: .* died|is left to go on with|has died|died that)\b|\bdied\b.*takes")


def judge(evidence: Evidence) -> Iterator[Finding]:
    """Say which ranks died, and which jobs were killed."""
    yield from _ranks(evidence)
    yield from _jobs(evidence)


def _ranks(evidence: Evidence) -> Iterator[Finding]:
    told = [row for row in evidence.run.records("event").rows if _is_death(row)]
    if not told:
        return
    lost = number(evidence.summary.get("rows_lost"), 0.0)
    examples = number(evidence.summary.get("examples"), 0.0)
    share = lost / examples if examples else 0.0
    figure = f"the last: {told[-1].get('text')}"
    if lost:
        figure += f"; {share:.1%} of the examples were lost with them"
    text = f"{several(len(told), 'death')} of ranks befell the run, which went on."
    severity: Severity = "warning" if share >= LOST else "note"
    remedy = "see the log of the job for why; lower checkpoint.mirror_s if much is lost with a shard"
    yield Finding("deaths", severity, text, figure, remedy, share)


def _is_death(row: dict[str, Any]) -> bool:
    """Whether an event tells of a death; version 1 does so in its text alone."""
    if "about" in row:
        return row["about"] in ("death", "silence")
    return bool(DIED.search(str(row.get("text"))))


def _jobs(evidence: Evidence) -> Iterator[Finding]:
    """Tell of jobs that ended without a word, and what was done again after them."""
    jobs = evidence.run.jobs
    killed = [at for at, job in enumerate(jobs[:-1]) if job.began and not job.ended]
    if not killed:
        return
    train = evidence.run.records("train")
    again = float(np.diff(train.column("time_s"), prepend=0.0).clip(min=0)[train.superseded].sum())
    text = f"{several(len(killed), 'job')} of the run ended without a checkpoint at the end."
    figure = f"about {again:,.0f} s of training were done again"
    yield Finding("deaths", "note", text, figure, "lower checkpoint.every_s if that is much")
