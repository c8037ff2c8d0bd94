"""How the ranks of a node share its cores: threads of each, and what depends on who is there."""

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from dbmpi.comm.alone import Guest
from dbmpi.comm.meeting import while_loading
from dbmpi.config.sections import Config
from dbmpi.layout.topology import Topology
from dbmpi.run.start import launch, surroundings
from dbmpi.run.start.refusal import warn

if TYPE_CHECKING:
    from mpi4py import MPI

    from dbmpi.comm.places import RankPlace

COMPUTING = "replica", "serial"  # kinds of roles that compute all the time


def ranks_and_cores(places: "Sequence[RankPlace]", node: int) -> tuple[int, int]:
    """Return how many ranks are on a node, and how many cores they may use together, whole ones."""
    here = [place for place in places if place.node == node]
    cores = len(frozenset().union(*(place.cores for place in here)))
    return len(here), max(1, int(min(cores, *(place.quota for place in here))))


def thread_reasons(config: Config, places: "Sequence[RankPlace]") -> dict[str, list[int]]:
    """Return how many threads ranks have, and why: for each reason the ranks, in order."""
    reasons: dict[str, list[int]] = {}
    nodes = {node: ranks_and_cores(places, node) for node in {place.node for place in places}}
    for rank, place in enumerate(places):
        ranks, cores = nodes[place.node]
        why = launch.thread_reason(config.cluster.threads, len(place.cores), ranks, cores)
        reasons.setdefault(why, []).append(rank)
    return reasons


def choose_threads(comm: "MPI.Intracomm", config: Config, places: "list[RankPlace]") -> tuple[int, bool]:
    """Choose the threads of this rank; return them, and whether its node has fewer cores than ranks.

    The libraries read the choice when they are loaded: no numpy before this. In the process of somebody else
    they are loaded: kernels use one thread there, and products those that the process has.
    """
    if isinstance(comm, Guest):
        return 1, False
    mine = places[comm.Get_rank()]
    ranks, cores = ranks_and_cores(places, mine.node)
    threads = launch.resolve_threads(config.cluster.threads, len(mine.cores), ranks, cores)
    threads, problem = surroundings.possible_threads(threads, config.cluster.threads == "auto")
    os.environ.update(launch.thread_environment(threads))
    warn(comm, problem, while_loading(config.cluster.timeout_s))
    return threads, ranks > cores


def thread_warnings(topology: Topology, places: "list[RankPlace]", threads: int, rank: int) -> list[str]:
    """Return what is wrong with the threads of a rank. Local."""
    mine = places[rank]
    here = [role.kind for role, place in zip(topology.roles, places, strict=True) if place.node == mine.node]
    computing = sum(kind in COMPUTING for kind in here)
    if topology.roles[rank].kind not in COMPUTING:
        return []
    cores = ranks_and_cores(places, mine.node)[1]
    return launch.thread_warnings(threads, len(mine.cores), computing, cores, len(here) - computing)


def core_each(topology: Topology, places: "list[RankPlace]", rank: int) -> bool:
    """Return whether a rank is a partition, on a node that has a core for each partition there."""
    node = places[rank].node
    partitions = [r for replica in topology.replicas for r in replica if places[r].node == node]
    return rank in partitions and len(partitions) <= ranks_and_cores(places, node)[1]


def with_overlap(config: Config, topology: Topology, places: "list[RankPlace]") -> Config:
    """Return the configuration with `downpour.overlap` chosen for the most crowded node. Local."""
    crowds = [ranks_and_cores(places, node) for node in {place.node for place in places}]
    ranks, cores = max(crowds, key=lambda crowd: crowd[0] / crowd[1])
    replicas, nodes = len(topology.replicas), len(crowds)
    overlap = launch.resolve_overlap(config.downpour.overlap, replicas, nodes, ranks, cores)
    return replace(config, downpour=replace(config.downpour, overlap=overlap))
