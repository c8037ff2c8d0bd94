"""Is it held back by the exchange of parameters, and if so by the shards? Pure.

Partitions that wait for shards wait either while these serve, or while nobody does anything: for messages,
for a core, for the other replicas of a round. Where N partitions wait a share W of their time each, somebody
waits for about 1 - (1 - W)^N of the time. If the busiest shard serves for most of that, more shards or fewer
pushes help; else they do not. Where fetches are not waited for, a shard that cannot keep up shows in pushes
that carry more minibatches than `downpour.n_push`.
"""

from collections.abc import Iterator

import numpy as np

from dbmpi.diagnosis.age import push_minibatches
from dbmpi.diagnosis.cores import lacking
from dbmpi.diagnosis.evidence import Evidence
from dbmpi.diagnosis.finding import Finding, Severity, graded
from dbmpi.diagnosis.shares import EXCHANGE, Shares
from dbmpi.logs.records import Records, number

WAITS = 0.3  # of the partitions' time for fetch and push: a third more is learned if they end
WAITS_BAD = 0.6  # of the time: more than half of the machine stands still
SERVED = 0.6  # of the time in which somebody waits, the busiest shard serves: then it is the shard
BUSY = 0.9  # of its time a shard serves: it has no room left
BEHIND = 2.0  # times downpour.n_push minibatches in a push: every other push is left out
BEHIND_BAD = 4.0  # times: three of four
MORE = "raise cluster.shards, downpour.n_push and downpour.n_fetch, or train.minibatch"


def judge(evidence: Evidence, shares: Shares) -> Iterator[Finding]:
    """Say how long partitions wait for parameters, and whether shards are why."""
    if not evidence.shares_parameters or not evidence.enough:
        return
    waits, busy, behind = shares.of_causes(EXCHANGE), busiest(evidence), _behind(evidence)
    severity = graded(waits, WAITS, WAITS_BAD)
    if severity is not None:
        yield _waiting(evidence, severity, waits, busy)
    elif severity := graded(behind, BEHIND, BEHIND_BAD):
        text = f"Shards do not keep up: a push carries {behind:.1f} times the minibatches that it should."
        figure = (
            f"the busiest shard serves for {busy:.0%} of its time, and partitions wait {waits:.0%} of theirs"
        )
        yield Finding("shards", severity, text, figure, MORE, 1 - 1 / behind)
    elif shares.known:
        text = f"Fetch and push hold nobody back: partitions wait {waits:.0%} of their time for them."
        yield Finding("shards", "good", text, _served(busy))


def _waiting(evidence: Evidence, severity: Severity, waits: float, busy: float) -> Finding:
    waiting = 1 - (1 - min(1.0, waits)) ** evidence.clients
    if evidence.has_short_steps:
        text = f"Minibatches are so short that partitions wait {waits:.0%} of their time for fetch and push."
        figure = f"a minibatch takes {evidence.step_s * 1e3:.2g} ms"
        remedy = "raise train.minibatch, downpour.n_push and downpour.n_fetch"
        return Finding("shards", "note", text, figure, remedy, waits)
    if busy >= BUSY or busy >= SERVED * waiting:
        text = f"It is held back by the shards: partitions wait {waits:.0%} of their time for fetch and push."
        return Finding("shards", severity, text, f"{_served(busy)}", MORE, waits)
    idle = _served(busy)
    if lacking(evidence) is not None:
        text = f"Partitions wait {waits:.0%} of their time for fetch and push, as ranks lack cores."
        return Finding("shards", "note", text, idle, "see cores", waits)
    if evidence.algorithm == "sync":
        text = f"Replicas wait {waits:.0%} of their time for one another's rounds, and shards are not why."
        return Finding(
            "shards", severity, text, idle, "set downpour.backups, or raise train.minibatch", waits
        )
    text = f"Partitions wait {waits:.0%} of their time for fetch and push, and shards are not why."
    remedy = "see cores and network; set downpour.overlap, raise downpour.n_fetch and downpour.n_push"
    return Finding("shards", severity, text, idle, remedy, waits)


def _served(busy: float) -> str:
    return (
        f"the busiest shard serves for {busy:.0%} of its time" if np.isfinite(busy) else "not known of shards"
    )


def busiest(evidence: Evidence) -> float:
    """Return the share of its time in which the busiest shard served; not a number where it is not known."""
    records = evidence.judged("shard")
    shards = records.column("shard")
    shares = [
        _busy_share(records.at(np.flatnonzero(shards == shard).tolist())) for shard in np.unique(shards)
    ]
    return max((share for share in shares if np.isfinite(share)), default=np.nan)


def _busy_share(records: Records) -> float:
    """Return the share of one shard, which counts from the begin of its job."""
    times, busy = records.column("time_s"), records.column("busy_s")
    if len(times) < 2 or times[-1] <= times[0]:
        return np.nan
    return float((busy[-1] - busy[0]) / (times[-1] - times[0]))


def _behind(evidence: Evidence) -> float:
    """Return how many times the minibatches of `downpour.n_push` a push carries; 1 where it is not known."""
    config = evidence.run.config
    if config is None or evidence.algorithm != "downpour" or not number(evidence.summary.get("steps"), 0.0):
        return 1.0
    return push_minibatches(evidence) / config.downpour.n_push
