"""Are cores oversubscribed? By the CPU time of ranks that compute, and by how many share a core. Pure.

A rank that computes on a core of its own gets a CPU second a second. Less means that others ran there: ranks
of this run where more of them compute than there are cores, or are bound to the same ones, and else
somebody else.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from dbmpi.diagnosis.evidence import Evidence
from dbmpi.diagnosis.finding import Finding, Severity, graded
from dbmpi.diagnosis.of_replicas import core_share
from dbmpi.logs.records import number

LACKING = 0.2  # of the time computed without a core: shards and the coordinator take a tenth on a full node
LACKING_BESIDE = 0.35  # of it, where no more compute than there are cores: shards may take as much
MOSTLY_LACKING = 0.5  # of the time: two ranks share each core, and both might as well be one
CORE = r"\d{1,6}"
CROWDED = 1.25  # threads that compute for a core, where no core share is recorded
VERY_CROWDED = 2.0  # threads that compute for a core


def judge(evidence: Evidence) -> Iterator[Finding]:
    """Say whether ranks have the cores that they compute with, and who else has them."""
    share, severity = known_share(evidence), lacking(evidence)
    figure = f"ranks had a core for {share:.0%} of the time that they computed"
    if not np.isfinite(share):
        yield from _by_numbers(evidence)
    elif severity is not None:
        yield Finding("cores", severity, *_who(evidence, figure), 1 - share)
    else:
        yield Finding("cores", "good", "Cores are not oversubscribed.", figure)


def lacking(evidence: Evidence) -> Severity | None:
    """Return how badly ranks lack cores, by their core share; None: not, or not known."""
    alone = computing_per_core(evidence) <= 1.0
    found = graded(1 - known_share(evidence), LACKING_BESIDE if alone else LACKING, MOSTLY_LACKING)
    return None if found == "warning" and alone and evidence.has_short_steps else found


def known_share(evidence: Evidence) -> float:
    """Return the core share; not a number where it is not known, or says nothing.

    Of several threads the main one waits for the others, which may count as no CPU time.
    """
    if not evidence.enough or (threads(evidence) > 1 and not computing_per_core(evidence) > 1.0):
        return np.nan
    return core_share(evidence.judged("replicas"))


def _who(evidence: Evidence, figure: str) -> tuple[str, str, str]:
    """Return text, figure and remedy: who shares the cores."""
    crowd = computing_per_core(evidence)
    if crowd > 1.0:
        figure += f", and {crowd:.3g} threads compute for each core"
        return "Cores are oversubscribed: more ranks compute than there are cores.", figure, _fewer(evidence)
    if _bound_together(evidence):
        text = "Cores are oversubscribed: ranks are bound to the same cores while others are free."
        return text, figure, "start ranks with a core each (mpirun --bind-to core, srun --cpu-bind=cores)"
    if crowd != crowd:  # not known
        text = "Cores are oversubscribed, or somebody else computes on them."
        return text, figure, f"{_fewer(evidence)}; see what else runs on the nodes"
    text = "Something else runs on the cores: there are enough for the ranks that compute, which lack some."
    if evidence.run.described.get("crowded"):
        text = "Ranks that compute lack cores, though there are enough for them: others run there too."
        figure += "; shards and the coordinator are there, and what else runs on the nodes"
    return (
        text,
        figure,
        "see what else runs on the nodes, or ask for more cores, or whole nodes (sbatch --exclusive)",
    )


def _by_numbers(evidence: Evidence) -> Iterator[Finding]:
    """Judge by the numbers of ranks and cores alone."""
    crowd = computing_per_core(evidence)
    if severity := graded(crowd, CROWDED, VERY_CROWDED):
        text = "Cores are oversubscribed: more ranks compute than there are cores."
        figure = f"{crowd:.3g} threads compute for each core"
        yield Finding("cores", severity, text, figure, _fewer(evidence), 1 - 1 / crowd)


def _fewer(evidence: Evidence) -> str:
    if threads(evidence) > 1:
        return "lower cluster.threads, start fewer ranks, or take more cores"
    return "start fewer ranks (mpirun -n, cluster.replicas), or take more cores"


def threads(evidence: Evidence) -> float:
    """Return the most threads that a rank has."""
    return max((number(one.get("threads"), 1.0) for one in evidence.roles), default=1.0)


def nodes(evidence: Evidence) -> list[Mapping[str, Any]]:
    """Return the nodes of run.json; none where it does not say."""
    told = evidence.run.described.get("nodes")
    return [one for one in told if isinstance(one, dict)] if isinstance(told, list) else []


def computing_per_core(evidence: Evidence) -> float:
    """Return the threads that compute for each core of the fullest node; not a number: not known."""
    cores = [number(node.get("cores"), 0.0) for node in nodes(evidence)]
    found = [_on(evidence, at, nodes(evidence)[at]) / count for at, count in enumerate(cores) if count > 0]
    return max((one for one in found if np.isfinite(one)), default=np.nan)


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
        if re.fullmatch(CORE, first) and re.fullmatch(CORE, last or first):
            found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)
