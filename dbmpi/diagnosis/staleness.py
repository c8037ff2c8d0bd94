"""Is asynchrony healthy? How old gradients are when they are applied, and what that does. Pure.

Age does no harm by itself: where the loss falls it is a warning, where the loss is spoilt it is named as the
cause, beside the rate.
"""

from collections.abc import Iterator

import numpy as np

from dbmpi.diagnosis.age import age, is_harmful, mean_staleness, natural, push_minibatches
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
    updates, each, old = mean_staleness(evidence), push_minibatches(evidence), age(evidence)
    if not np.isfinite(old):
        return
    replicas = several(evidence.replicas, "replica")
    carries = f" and carries {each:.3g} minibatches" if each > 1.05 else ""
    figure = f"a push is {updates:.1f} updates old on average{carries}"
    figure += f"; {evidence.replicas - 1} is natural with {replicas}"
    if is_harmful(evidence) and curve.is_spoilt:
        text = f"Gradients are too old for this learning rate: {old:.0f} minibatches, and the loss is spoilt."
        yield Finding("staleness", "bad", text, figure, _remedy(evidence), 0.95)
    elif old >= TOO_OLD * natural(evidence):
        text = f"Gradients are too old when they are applied: {old:.0f} minibatches on average."
        yield Finding("staleness", "warning", text, figure, _remedy(evidence), 1 - natural(evidence) / old)
    else:
        text = f"Asynchrony is healthy: gradients are {old:.1f} minibatches old."
        yield Finding("staleness", "good", text, figure)


def _remedy(evidence: Evidence) -> str:
    config = evidence.run.config
    if config is not None and max(config.downpour.n_fetch, config.downpour.n_push) > 1:
        return f"{FETCH}, or {OTHERWISE}"
    return OTHERWISE


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
