"""The kinds of what can befall a run: a line for each.

A kind either disturbs a run as `attempt.disturbed` makes it, or makes its own tries: then `own` names a
function, "module:function", that is given a `random.Random` and a folder of its own, and returns a `Tried`.
Modules are loaded when a try needs them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from scripts.chaos import disks, disturbances, links
from scripts.chaos.jobs import PLAIN, Surroundings, Workshop
from scripts.chaos.scene import Scene

Act = Callable[[Scene], None]
Around = Callable[[Workshop, Scene], Surroundings]
QUICK, PATIENT = 2.0, 10.0  # cluster.timeout_s: of runs whose deadline matters, and of others
ANYBODY = "coordinator", "shard", "replica"
LAUNCHERS = "plain", "ulfm", "mpich"


def nothing(scene: Scene) -> None:
    """Let the run be."""


def plain(shop: Workshop, scene: Scene) -> Surroundings:
    """Start the job as any other."""
    return PLAIN


def possible() -> str:
    """Say that nothing is in the way."""
    return ""


@dataclass(frozen=True)
class Kind:
    """A kind.

    Parameters
    ----------
    what
        A line about it.
    act
        What happens at the moment.
    roles
        Whom it may meet; empty: nobody in particular.
    victims
        How many it meets; 0: one of each role, in that order.
    shards
        How many shards there are at least.
    launchers
        Under which it can be tried.
    timeout_s
        `cluster.timeout_s`.
    around
        What the job is started in.
    missing
        Why it is not possible here.
    weight
        How often it is tried, beside the others.
    deaths
        Whether it may cost a rank, or work.
    own
        The function that makes its tries, "module:function"; empty: `attempt.disturbed`.
    """

    what: str
    act: Act = nothing
    roles: tuple[str, ...] = ANYBODY
    victims: int = 1
    shards: int = 1
    launchers: tuple[str, ...] = LAUNCHERS
    timeout_s: float = PATIENT
    around: Around = plain
    missing: Callable[[], str] = possible
    weight: int = 2
    deaths: bool = True
    own: str = ""

    @property
    def alone(self) -> bool:
        """Whether a try must have the machine for itself: its deadline is short, or its names are its own."""
        return self.timeout_s < PATIENT or self.around is links.hosts or bool(self.own)


def disk(what: str, around: Around, act: Act, **more: Any) -> Kind:
    """Return a kind that disturbs the disk; it needs a C compiler."""
    return Kind(what, act, around=around, missing=disks.without_compiler, **{"roles": (), **more})


def link(what: str, act: Act, **more: Any) -> Kind:
    """Return a kind that disturbs the link between two hosts, of which one has a replica."""
    hosts, why, mpi = links.hosts, links.no_namespaces, LAUNCHERS[:2]
    return Kind(what, act, ("replica",), launchers=mpi, around=hosts, missing=why, **more)


D, K = disturbances, Kind
FEW = "coordinator", "shard"
SHORTLY: dict[str, Any] = {"timeout_s": QUICK, "deaths": False}
KINDS = {
    "none": K("nothing happens", roles=(), deaths=False),
    "kill": K("a rank is killed", D.kill, weight=8),
    "kill-writing": K(
        "the coordinator or a shard is killed while a checkpoint is written", D.kill_writing, FEW, weight=3
    ),
    "kill-emergency": K(
        "the coordinator is killed, and a shard while the shards write a checkpoint",
        D.kill_emergency,
        FEW,
        victims=0,
        shards=3,
        launchers=("ulfm",),
    ),
    "double-kill": K("two ranks are killed, at once or soon after one another", D.kill, victims=2, weight=5),
    "out-of-memory": K("a rank gets no more memory", D.out_of_memory, missing=D.no_memory_groups),
    "pause-short": K("a rank stands still, for less than the deadline", D.pause(D.SHORT), **SHORTLY),
    "pause-long": K(
        "a rank stands still, for longer than the deadline", D.pause(D.LONG), timeout_s=QUICK, weight=4
    ),
    "suspend": K("the whole job stands still for two deadlines", D.suspend, (), weight=3, **SHORTLY),
    "stop": K("a rank is told to stop", D.stop, weight=3, deaths=False),
    "disk-slow": disk(
        "flushing takes up to 1.5 deadlines, for a while",
        disks.slow,
        disks.for_a_while(disks.LATER),
        **SHORTLY,
    ),
    "disk-full": disk("the disk is full from then on", disks.full, disks.begin),
    "disk-full-for-a-while": disk(
        "the disk is full, and is freed", disks.full, disks.for_a_while(disks.SOON)
    ),
    "disk-full-coordinator": disk(
        "the coordinator's disk is full from then on", disks.full_alone, disks.begin
    ),
    "kill-disk-full": disk(
        "the disk is full from then on, and the coordinator is killed",
        disks.full,
        disks.begin_and_kill,
        roles=("coordinator",),
    ),
    "disk-failing": disk("nothing can be written from then on", disks.failing, disks.begin),
    "two-jobs": K("a second job is started in the same directory", own="scripts.chaos.second:attempt"),
    "link-lossy": link("a host's link loses packets", links.lossy, deaths=False),
    "link-cut-short": link(
        "a host's link is cut for less than half the deadline", links.cut(links.SHORT), **SHORTLY
    ),
    "link-cut": link("a host's link is cut for longer than the deadline", links.cut(D.LONG), timeout_s=QUICK),
    "calls": K("one call of the file system fails", own="scripts.chaos.calls:attempt"),
}
