"""The run's whole life: its jobs as bands, what was done again, and goodput. Pure."""

import numpy as np

from dbmpi.logs.records import Job
from dbmpi.report import numbers
from dbmpi.report.blocks import Bar, Block, Cell, Section, Table
from dbmpi.report.causes import CAUSES
from dbmpi.report.sections.spent import spent
from dbmpi.report.subject import Subject
from dbmpi.text import several

KEYS = (
    ("start", "start: from the launch to training"),
    ("train", "training"),
    ("again", "done again by the next job, which went on from an earlier checkpoint"),
)
REST = "rest: start, evaluation, checkpoints, work done again, dead replicas, end"
MOST_JOBS = 100
LITTLE = 5e-4  # of all: less has no row


def section(subject: Subject) -> Section | None:
    """Return the bands of jobs and the parts of goodput; None where nothing is recorded."""
    if not subject.run.jobs:
        return None
    parts = _parts(subject)
    blocks: list[Block] = [_jobs(subject), *([parts] if parts is not None else [])]
    return Section("life", "Whole life", blocks)


def _jobs(subject: Subject) -> Table:
    jobs = subject.run.jobs
    whole_s = max(jobs[-1].life(jobs[-1].last_s), 1e-9)
    rows: list[list[Cell | Bar]] = []
    for i, job in list(enumerate(jobs))[-MOST_JOBS:]:
        began = str(job.began.get("at", ""))[:19].replace("T", " ")
        again_s = _again_s(jobs, i)
        rows.append([
            str(i + 1),
            _band(job, again_s, whole_s),
            numbers.seconds(job.start_s) if job.began else None,
            numbers.seconds(job.last_s - job.first_s),
            numbers.seconds(again_s) if again_s else "",
            _end(job, i + 1 == len(jobs)),
            began,
        ])  # fmt: skip
    head = ["job", "in the run's life", "start", "training", "of it done again", "ended", "began (UTC)"]
    if not any(row[-1] for row in rows):
        head, rows = head[:-1], [row[:-1] for row in rows]
    caption = f"{several(len(jobs), 'job')} of the run, {numbers.seconds(whole_s)} from launches to ends"
    note = "Time between two jobs, as in a queue, is not part of it."
    return Table(
        caption,
        head,
        rows,
        note if len(jobs) > 1 else "",
        KEYS if any(_again_s(jobs, i) for i in range(len(jobs))) else KEYS[:2],
    )


def _end(job: Job, last: bool) -> str:
    if job.ended:
        return "in order"
    return (
        ("not recorded" if last else "without recording it") if job.began else "not recorded by this version"
    )


def _again_s(jobs: list[Job], index: int) -> float:
    """Return the seconds of a job's training that later ones have done again."""
    goes_on = min((later.first_s for later in jobs[index + 1 :]), default=np.inf)
    return max(0.0, jobs[index].last_s - max(goes_on, jobs[index].first_s))


def _band(job: Job, again_s: float, whole_s: float) -> Bar:
    begin, end = job.life(job.first_s), job.life(job.last_s)
    parts = [(job.life_s, begin - job.life_s, "start"), (begin, end - again_s - begin, "train")]
    return Bar([*parts, (end - again_s, again_s, "again")], whole_s)


def _parts(subject: Subject) -> Table | None:
    """Return what became of the seconds of all partitions; None where nothing tells."""
    found = spent(subject)
    if found is None:
        return None
    listed = [("gradients that are in the parameters", found.applied_s, "good")]
    lost_s = found.computed_s - found.applied_s
    if lost_s > LITTLE * found.available_s:
        listed.append(("gradients that are not: refused, lost or too late", lost_s, "lost"))
    waits = [(f"waits: {CAUSES.get(name, name)}", value, "wait") for name, value in found.waits_s.items()]
    listed += [one for one in waits if one[1] > 0]
    listed.append((REST, found.rest_s, "rest"))
    rows: list[list[Cell | Bar]] = []
    at_s = 0.0
    for name, value, kind in listed:
        bar = Bar([(at_s, value, kind)], found.available_s)
        rows.append([name, bar, numbers.percent(value / found.available_s), numbers.seconds(value)])
        at_s += value
    share = numbers.percent(found.goodput)
    caption = f"Goodput {share}: where the seconds of all partitions went, restarts included"
    return Table(caption, ["for", "share of all", "", "seconds of partitions"], rows, found.source)
