"""How old gradients are when they are applied. Pure.

Age is counted in minibatches: the staleness of a push in updates, times the minibatches that it carries.
Where R replicas push in each minibatch, R - 1 others have pushed between the fetch and the push of one: that
age is natural, and `downpour.learning_rate = "auto"` counts on it.
"""

import numpy as np

from dbmpi.diagnosis.evidence import Evidence
from dbmpi.logs.records import number, whole

OLDER = 2.0  # times the natural age: pushes or fetches are rarer than the rate counts on
HARMFUL_AGE = 4.0  # minibatches: where the loss is spoilt as well, such an age is the likelier cause


def age(evidence: Evidence) -> float:
    """Return the mean age of gradients, in minibatches; not a number where it is not known."""
    return mean_staleness(evidence) * push_minibatches(evidence)


def natural(evidence: Evidence) -> int:
    """Return the natural age; at least 1."""
    return max(1, evidence.replicas - 1)


def is_harmful(evidence: Evidence) -> bool:
    """Whether gradients are old enough to spoil the loss."""
    of_rounds = evidence.algorithm != "downpour"
    return not of_rounds and age(evidence) >= max(HARMFUL_AGE, OLDER * natural(evidence))


def mean_staleness(evidence: Evidence) -> float:
    """Return the mean age of pushes in updates: of the judged time, or of the job; not a number: unknown."""
    recent = evidence.mean("staleness_mean")
    if np.isfinite(recent):
        return recent
    last = {whole(row.get("shard"), 0): row for row in evidence.judged("shard").rows}
    updates = [number(row.get("updates"), 0.0) for row in last.values()]
    if sum(updates):
        return float(
            np.average([number(row.get("staleness_mean"), 0.0) for row in last.values()], weights=updates)
        )
    return number(evidence.summary.get("staleness_mean"))


def push_minibatches(evidence: Evidence) -> float:
    """Return how many minibatches a push carries: as counted, or else as configured."""
    minibatches, pushes = (evidence.of_replicas(name) for name in ("minibatches", "pushes"))
    if pushes:
        return max(1.0, minibatches * evidence.partitions / pushes)
    steps, updates = (number(evidence.summary.get(name), 0.0) for name in ("steps", "updates"))
    config = evidence.run.config
    if steps and updates and config is not None:
        return max(1.0, steps / (updates * config.downpour.average))
    return float(config.downpour.n_push) if config is not None else 1.0
