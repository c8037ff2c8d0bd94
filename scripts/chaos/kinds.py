"""The kinds of what can befall a run: a line for each.

A kind either disturbs a run as `attempt.disturbed` makes it, or makes its own tries: then `own` names a
function, "module:function", that is given a `random.Random` and a folder of its own, and returns a `Tried`.
Modules are loaded when a try needs them.
"""

from collections.abc import Callable
from dataclasses import dataclass

from scripts.chaos import disks, disturbances, links
from scripts.chaos.jobs import PLAIN, Surroundings, Workshop
from scripts.chaos.scene import Scene

Act = Callable[[Scene], None]
QUICK, PATIENT = 2.0, 10.0  # cluster.timeout_s: of runs whose deadline matters, and of others
ANYBODY = "coordinator", "shard", "replica"


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
        How many it meets.
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
    timeout_s: float = PATIENT
    around: Callable[[Workshop, Scene], Surroundings] = plain
    missing: Callable[[], str] = possible
    weight: int = 2
    deaths: bool = True
    own: str = ""


D, K = disturbances, Kind
KINDS = {
    "none": K("nothing happens", roles=(), deaths=False),
    "kill": K("a rank is killed", D.kill, weight=8),
    "kill-writing": K(
        "the coordinator or a shard is killed while a checkpoint is written",
        D.kill_writing,
        ("coordinator", "shard"),
        weight=3,
    ),
    "double-kill": K("two ranks are killed, at once or soon after one another", D.kill, victims=2, weight=5),
    "out-of-memory": K("a rank gets no more memory", D.out_of_memory, missing=D.no_memory_groups),
    "pause-short": K(
        "a rank stands still, for less than the deadline", D.pause(D.SHORT), timeout_s=QUICK, deaths=False
    ),
    "pause-long": K(
        "a rank stands still, for longer than the deadline", D.pause(D.LONG), timeout_s=QUICK, weight=4
    ),
    "suspend": K(
        "the whole job stands still for two deadlines", D.suspend, (), timeout_s=QUICK, weight=3, deaths=False
    ),
    "stop": K("a rank is told to stop", D.stop, weight=3, deaths=False),
    "disk-slow": K(
        "flushing takes up to 1.5 deadlines, for a while",
        disks.for_a_while(disks.LATER),
        (),
        timeout_s=QUICK,
        around=disks.slow,
        missing=disks.without_compiler,
        deaths=False,
    ),
    "disk-full": K(
        "the disk is full from then on", disks.begin, (), around=disks.full, missing=disks.without_compiler
    ),
    "disk-full-for-a-while": K(
        "the disk is full, and is freed",
        disks.for_a_while(disks.SOON),
        (),
        around=disks.full,
        missing=disks.without_compiler,
    ),
    "disk-failing": K(
        "nothing can be written from then on",
        disks.begin,
        (),
        around=disks.failing,
        missing=disks.without_compiler,
    ),
    "two-jobs": K("a second job is started in the same directory", own="scripts.chaos.second:attempt"),
    "link-lossy": K(
        "a host's link loses packets",
        links.lossy,
        ("replica",),
        around=links.hosts,
        missing=links.no_namespaces,
        deaths=False,
    ),
    "link-cut-short": K(
        "a host's link is cut, for less than the deadline",
        links.cut(D.SHORT),
        ("replica",),
        timeout_s=QUICK,
        around=links.hosts,
        missing=links.no_namespaces,
        deaths=False,
    ),
    "link-cut": K(
        "a host's link is cut, for longer than the deadline",
        links.cut(D.LONG),
        ("replica",),
        timeout_s=QUICK,
        around=links.hosts,
        missing=links.no_namespaces,
    ),
    "calls": K("one call of the file system fails", own="scripts.chaos.calls:attempt"),
}
