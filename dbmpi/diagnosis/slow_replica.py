"""Is one replica slower than the others? Pure.

Each replica is compared with the median of the others: by examples/s where each goes its own way, and where
all go in rounds by examples per second that it computed, as all learn alike then.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbmpi.diagnosis.evidence import Evidence
from dbmpi.diagnosis.finding import Finding, graded
from dbmpi.diagnosis.of_replicas import core_shares, sums
from dbmpi.logs.records import number

SLOWER = 0.4  # below the median of the others, as a share of it: equal cores differ by a tenth or two
MUCH_SLOWER = 0.7  # below: it adds next to nothing, and its gradients are the oldest
LEAST_PORTIONS = 8  # of the others, on average: what a replica has done is counted by whole portions
SHORT_OF_CORES = 0.15  # of its core share below that of the others: then this is why


@dataclass(frozen=True)
class Paces:
    """What each replica did in the judged time; not a number for one that is dead.

    Parameters
    ----------
    pace : (R,)
        Examples per second, or portions.
    core_share : (R,)
        CPU seconds for each second of computing.
    unit
        Of `pace`.
    """

    pace: NDArray[np.float64]
    core_share: NDArray[np.float64]
    unit: str


def judge(evidence: Evidence) -> Iterator[Finding]:
    """Name the replicas that are slower than the others."""
    paces = _paces(evidence)
    if paces is None or np.isfinite(paces.pace).sum() < 2:
        return
    for replica in np.flatnonzero(np.isfinite(paces.pace)).tolist():
        others = np.delete(paces.pace, replica)
        usual = float(np.nanmedian(others))
        below = 1 - float(paces.pace[replica]) / usual if usual > 0 else 0.0
        if severity := graded(below, SLOWER, MUCH_SLOWER):
            yield _finding(evidence, paces, replica, severity, usual, below)


def _finding(
    evidence: Evidence, paces: Paces, replica: int, severity: Any, usual: float, below: float
) -> Finding:
    text = (
        f"Replica {replica}{_place(evidence, replica)} has learned {paces.pace[replica]:,.0f} {paces.unit}, "
        f"the others {usual:,.0f} on average."
    )
    figure = f"{below:.0%} below the others"
    mine, theirs = paces.core_share[replica], np.nanmedian(np.delete(paces.core_share, replica))
    if theirs - mine >= SHORT_OF_CORES:
        figure += f"; it had a core for {mine:.0%} of the time that it computed, the others for {theirs:.0%}"
    weight = below if evidence.algorithm == "sync" else below / evidence.replicas
    return Finding("slow_replica", severity, text, figure, _remedy(evidence), weight)


def _remedy(evidence: Evidence) -> str:
    look = "see what else runs on its cores, and whether its node is slower"
    if evidence.algorithm == "sync":
        return f"{look}; downpour.backups = 1 lets rounds end without the slowest"
    if evidence.algorithm == "sandblaster":
        return f"{look}; smaller portions (sandblaster.portions) and sandblaster.backup share its work out"
    return f"{look}; downpour.max_staleness bounds the age of its gradients"


def _place(evidence: Evidence, replica: int) -> str:
    """Return on which host a replica is, where there are several."""
    hosts = {str(one.get("host")) for one in evidence.roles}
    mine = {
        str(one.get("host"))
        for one in evidence.roles
        if str(one.get("role")).startswith(f"replica {replica} ")
    }
    return f" ({', '.join(sorted(mine))})" if len(hosts) > 1 and mine else ""


def _paces(evidence: Evidence) -> Paces | None:
    if evidence.algorithm == "sandblaster":
        return _portions(evidence)
    records = evidence.judged("replicas")
    if not len(records):
        return None
    done = {name: sums(records, name) for name in ("learned", "minibatches", "busy_s", "computed_s")}
    if not _has_portions(evidence, done["minibatches"]):
        return None
    intervals = records.column("interval_s")
    seconds = np.nansum(intervals)
    if evidence.algorithm == "sync":
        pace = done["learned"] / np.where(done["computed_s"] > 0, done["computed_s"], np.nan)
        return Paces(pace, core_shares(records), "examples for each second of computing")
    return Paces(
        done["learned"] / seconds if seconds > 0 else done["learned"] * np.nan,
        core_shares(records),
        "examples/s",
    )


def _has_portions(evidence: Evidence, minibatches: NDArray[np.float64]) -> bool:
    """Whether replicas have done enough portions to be compared."""
    config = evidence.run.config
    portion = config.train.portion if config is not None and isinstance(config.train.portion, int) else 1
    known = minibatches[np.isfinite(minibatches)]
    return bool(len(known)) and bool(known.mean() >= LEAST_PORTIONS * portion)


def _portions(evidence: Evidence) -> Paces | None:
    """Return how many portions of a batch method each replica has computed; None where all have the same."""
    records = evidence.judged("replica")
    config = evidence.run.config
    if not len(records) or (config is not None and config.sandblaster.deterministic):
        return None
    last = {int(number(row.get("replica"), 0)): number(row.get("done")) for row in records.rows}
    done = np.array([last[replica] for replica in sorted(last)])
    if not np.nanmean(done) >= LEAST_PORTIONS:
        return None
    return Paces(done, np.full(len(done), np.nan), "portions")
