"""Is asynchrony healthy? How old gradients are when they are applied, and what that does. Pure.

Where R replicas push in each minibatch, R - 1 others have pushed between the fetch and the push of one: that
age is natural, and `downpour.learning_rate = "auto"` counts on it. Age is counted in minibatches: a push that
carries several is as old as these.
"""

from collections.abc import Iterator

import numpy as np

from dbmpi.diagnosis.curve import Curve
from dbmpi.diagnosis.evidence import Evidence
from dbmpi.diagnosis.finding import Finding, graded
from dbmpi.diagnosis.refusals import refused_share
from dbmpi.logs.records import number
from dbmpi.text import several

TOO_OLD = 10.0  # times the natural age: n_fetch = n_push = 5, the paper's example, stays below
LEAST_AGE = (
    16.0  # minibatches: below, gradients are too young to do harm at any rate that works with one replica
)
HARMFUL_AGE = 8.0  # minibatches: where the loss is spoilt as well, such an age is the likelier cause
STALE = 0.01  # of the pushes refused as stale: max_staleness is met now and then
STALE_BAD = 0.1  # of the pushes: a tenth of the work is thrown away
DROPPED = 0.1  # of the examples, above the share that backups give up on purpose
FETCH = "lower downpour.n_fetch and downpour.n_push"
OTHERWISE = (
    'take downpour.rule = "adarevision", a lower downpour.learning_rate, or fewer replicas (cluster.replicas)'
)


def judge(evidence: Evidence, curve: Curve) -> Iterator[Finding]:
    """Say how old gradients are; of rounds, what is dropped."""
    if evidence.algorithm == "sync":
        yield from _rounds(evidence)
    elif evidence.algorithm == "downpour" and evidence.shares_parameters:
        yield from _refused(evidence)
        yield from _age(evidence, curve)


def _age(evidence: Evidence, curve: Curve) -> Iterator[Finding]:
    updates, each = mean_staleness(evidence), push_minibatches(evidence)
    if not np.isfinite(updates):
        return
    age, natural = updates * each, max(1, evidence.replicas - 1)
    figure = f"a push is {updates:.1f} updates old on average" + (
        f" and carries {each:.3g} minibatches" if each > 1.05 else ""
    )
    figure += f"; {evidence.replicas - 1} is natural with {several(evidence.replicas, 'replica')}"
    spoilt = curve.outcome in ("diverged", "stuck", "spoilt", "risen")
    old = age >= max(LEAST_AGE, TOO_OLD * natural)
    if spoilt and age >= HARMFUL_AGE:
        text = f"Gradients are too old for this learning rate: {age:.0f} minibatches, and the loss is spoilt."
        yield Finding("staleness", "bad", text, figure, _remedy(evidence), 1.0 if old else 0.95)
    elif old:
        text = f"Gradients are too old when they are applied: {age:.0f} minibatches on average."
        yield Finding("staleness", "warning", text, figure, _remedy(evidence), min(1.0, age / natural / 100))
    else:
        yield Finding(
            "staleness", "good", f"Asynchrony is healthy: gradients are {age:.1f} minibatches old.", figure
        )


def _remedy(evidence: Evidence) -> str:
    config = evidence.run.config
    if config is not None and max(config.downpour.n_fetch, config.downpour.n_push) > 1:
        return f"{FETCH}, or {OTHERWISE}"
    return OTHERWISE


def mean_staleness(evidence: Evidence) -> float:
    """Return the mean age of pushes in updates: of the judged time, or of the job; not a number: unknown."""
    recent = evidence.mean("staleness_mean")
    if np.isfinite(recent):
        return recent
    last = {int(number(row.get("shard"), 0)): row for row in evidence.judged("shard").rows}
    updates = [number(row.get("updates"), 0.0) for row in last.values()]
    if sum(updates):
        return float(
            np.average([number(row.get("staleness_mean"), 0.0) for row in last.values()], weights=updates)
        )
    return number(evidence.summary.get("staleness_mean"))


def push_minibatches(evidence: Evidence) -> float:
    """Return how many minibatches a push carries: as counted at the end of a run, or as configured."""
    steps, updates = (number(evidence.summary.get(name), 0.0) for name in ("steps", "updates"))
    if steps and updates and evidence.run.config is not None:
        return max(1.0, steps / (updates * evidence.run.config.downpour.average))
    return float(evidence.run.config.downpour.n_push) if evidence.run.config is not None else 1.0


def _refused(evidence: Evidence) -> Iterator[Finding]:
    share = refused_share(evidence, "stale")
    if severity := graded(share, STALE, STALE_BAD):
        text = f"Shards refuse {share:.1%} of the gradients as too old."
        most = evidence.run.config.downpour.max_staleness if evidence.run.config is not None else 0
        figure = f"{share:.1%} of the pushes are older than downpour.max_staleness = {most}"
        remedy = f"raise downpour.max_staleness, or {FETCH}"
        yield Finding("staleness", severity, text, figure, remedy, share)


def _rounds(evidence: Evidence) -> Iterator[Finding]:
    examples, dropped = (number(evidence.summary.get(name), 0.0) for name in ("examples", "examples_dropped"))
    config = evidence.run.config
    meant = config.downpour.backups / evidence.replicas if config is not None else 0.0
    share = dropped / examples if examples else 0.0
    figure = f"{share:.0%} of the examples came too late for their rounds"
    if share - meant >= DROPPED:
        text = f"Rounds drop {share:.0%} of the examples, more than the {meant:.0%} that backups give up."
        yield Finding("staleness", "warning", text, figure, "lower downpour.backups", share)
    else:
        text = "Replicas go in rounds: no gradient is older than its step."
        yield Finding("staleness", "good", text, figure if share else "staleness 0")
