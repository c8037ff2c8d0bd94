"""Are cores oversubscribed? By the CPU time of ranks that compute, and by how many share a core. Pure.

A rank that computes on a core of its own gets a CPU second a second. Less means that others ran there: ranks
of this run where more of them compute than there are cores, or are bound to the same ones, and else
somebody else.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from dbmpi.diagnosis.evidence import Evidence
from dbmpi.diagnosis.finding import Finding, graded
from dbmpi.diagnosis.of_replicas import core_share
from dbmpi.logs.records import number

LACKING = 0.25  # of the time computed without a core: shards and the coordinator take some on a full node
MOSTLY_LACKING = 0.5  # of the time: two ranks share each core, and both might as well be one
CROWDED = 1.25  # threads that compute for a core, where no core share is recorded
VERY_CROWDED = 2.0  # threads that compute for a core


def judge(evidence: Evidence) -> Iterator[Finding]:
    """Say whether ranks have the cores that they compute with, and who else has them."""
    share, crowd = core_share(evidence.judged("replicas")), computing_per_core(evidence)
    if not np.isfinite(share) or not evidence.enough or (threads(evidence) > 1 and not crowd > 1.0):
        yield from _by_numbers(evidence, crowd)
    elif severity := graded(1 - share, LACKING, MOSTLY_LACKING):
        figure = f"ranks had a core for {share:.0%} of the time that they computed"
        yield Finding("cores", severity, *_who(evidence, crowd, figure), 1 - share)
    else:
        yield Finding(
            "cores",
            "good",
            "Cores are not oversubscribed.",
            f"ranks had a core for {share:.0%} of the time that they computed",
        )


def _who(evidence: Evidence, crowd: float, figure: str) -> tuple[str, str, str]:
    """Return text, figure and remedy: who shares the cores."""
    if crowd > 1.0:
        figure += f", and {crowd:.3g} threads compute for each core"
        return "Cores are oversubscribed: more ranks compute than there are cores.", figure, _fewer(evidence)
    if _bound_together(evidence):
        text = "Cores are oversubscribed: ranks are bound to the same cores while others are free."
        return text, figure, "start ranks with a core each (mpirun --bind-to core, srun --cpu-bind=cores)"
    if crowd != crowd:  # not known
        text = "Cores are oversubscribed, or somebody else computes on them."
        return text, figure, f"{_fewer(evidence)}; see what else runs on the nodes"
    text = "Something else runs on the cores: ranks that compute lack some, and are no more than these."
    return text, figure, "see what else runs on the nodes, or ask for whole ones (sbatch --exclusive)"


def _by_numbers(evidence: Evidence, crowd: float) -> Iterator[Finding]:
    """Judge by the numbers of ranks and cores alone."""
    if severity := graded(crowd, CROWDED, VERY_CROWDED):
        text = "Cores are oversubscribed: more ranks compute than there are cores."
        figure = f"{crowd:.3g} threads compute for each core"
        yield Finding("cores", severity, text, figure, _fewer(evidence), 1 - 1 / crowd)


def _fewer(evidence: Evidence) -> str:
    if threads(evidence) > 1:
        return "lower cluster.threads, start fewer ranks, or take more cores"
    return "start fewer ranks (mpirun -n, cluster.replicas), or take more cores"


def threads(evidence: Evidence) -> float:
    """Return the most threads that a rank has: with several the main thread waits for the others, too."""
    return max((number(one.get("threads"), 1.0) for one in evidence.roles), default=1.0)


def nodes(evidence: Evidence) -> list[Mapping[str, Any]]:
    """Return the nodes of run.json; none where it does not say."""
    told = evidence.run.described.get("nodes")
    return [one for one in told if isinstance(one, dict)] if isinstance(told, list) else []


def computing_per_core(evidence: Evidence) -> float:
    """Return the threads that compute for each core of the fullest node; not a number: not known."""
    found = [_on(evidence, at, node) / number(node.get("cores")) for at, node in enumerate(nodes(evidence))]
    known = [one for one in found if np.isfinite(one)]
    return max(known, default=np.nan)


def _on(evidence: Evidence, at: int, node: Mapping[str, Any]) -> float:
    """Return the threads that compute on a node."""
    here = [one for one in evidence.roles if one.get("node", node.get("host")) in (at, node.get("host"))]
    computing = [one for one in here if str(one.get("role")).startswith(("replica", "serial"))]
    return sum(number(one.get("threads"), 1.0) for one in computing)


def _bound_together(evidence: Evidence) -> bool:
    """Whether ranks that compute are bound to fewer cores than there are such ranks."""
    for at, node in enumerate(nodes(evidence)):
        here = [one for one in evidence.roles if one.get("node") == at]
        bound = [str(one.get("cores")) for one in here if str(one.get("role")).startswith("replica")]
        cores = frozenset[int]().union(*map(core_numbers, bound))
        if cores and len(bound) > len(cores) and number(node.get("cores"), 0.0) >= len(bound):
            return True
    return False


def core_numbers(text: str) -> frozenset[int]:
    """Return the cores of a text as run.json has it, "0-3,8"; none where it is none."""
    found = set[int]()
    for part in text.split(","):
        first, _, last = part.partition("-")
        if first.isdecimal() and (last or first).isdecimal():
            found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)
