"""Is one replica slower than the others? Pure.

Each replica is compared with the median of the others: by examples/s where each goes its own way, and where
all go in rounds by examples per second that it computed, as all learn alike then.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dbmpi.diagnosis.cores import lacking
from dbmpi.diagnosis.evidence import Evidence
from dbmpi.diagnosis.finding import Finding, Severity, graded
from dbmpi.diagnosis.of_replicas import core_shares, sums
from dbmpi.logs.records import number, whole

SLOWER = 0.4  # below the median of the others, as a share of it: equal cores differ by a tenth or two
SLOWER_LACKING = 0.2  # below, where it lacks cores that the others have: then it is no chance
MUCH_SLOWER = 0.7  # below: it adds next to nothing, and its gradients are the oldest
LEAST_PORTIONS = 8  # of the others, on average: what a replica has done is counted by whole portions
SHORT_OF_CORES = 0.15  # below the core share of the others: then this is why it is slow


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

    def of_others(self, replica: int) -> float:
        """Return the median pace of the others."""
        return float(np.nanmedian(np.delete(self.pace, replica)))

    def core_share_of_others(self, replica: int) -> float:
        """Return the median core share of the others; not a number where none is known."""
        others = np.delete(self.core_share, replica)
        return float(np.nanmedian(others)) if np.isfinite(others).any() else np.nan

    def lacks_cores(self, replica: int) -> bool:
        """Whether a replica lacks cores that the others have."""
        return bool(self.core_share_of_others(replica) - self.core_share[replica] >= SHORT_OF_CORES)


def judge(evidence: Evidence) -> Iterator[Finding]:
    """Name the replicas that are slower than the others."""
    paces = _paces(evidence)
    if paces is None or np.isfinite(paces.pace).sum() < 2:
        return
    for replica in np.flatnonzero(np.isfinite(paces.pace)).tolist():
        usual = paces.of_others(replica)
        below = 1 - float(paces.pace[replica]) / usual if usual > 0 else 0.0
        lacks = paces.lacks_cores(replica) and lacking(evidence) is None
        if severity := graded(below, SLOWER_LACKING if lacks else SLOWER, MUCH_SLOWER):
            yield _finding(evidence, paces, replica, severity, below)


def _finding(evidence: Evidence, paces: Paces, replica: int, severity: Severity, below: float) -> Finding:
    mine, usual = paces.pace[replica], paces.of_others(replica)
    text = (
        f"Replica {replica}{_place(evidence, replica)} has learned {mine:,.0f} {paces.unit}, "
        f"the others {usual:,.0f} on average."
    )
    figure = f"{below:.0%} below the others"
    if paces.lacks_cores(replica):
        had, others = paces.core_share[replica], paces.core_share_of_others(replica)
        figure += f"; it had a core for {had:.0%} of the time that it computed, the others for {others:.0%}"
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
    last = {whole(row.get("replica"), 0): number(row.get("done")) for row in records.rows}
    done = np.array([last[replica] for replica in sorted(last)])
    if not np.nanmean(done) >= LEAST_PORTIONS:
        return None
    return Paces(done, np.full(len(done), np.nan), "portions")
