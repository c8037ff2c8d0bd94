"""Whether the coordinator is silent, as other ranks see it: it gives signs of life to all.

Shards judge it, for all. Where ranks may die every rank of its host that misses it kills it, as it must not
wake when a checkpoint has been made of what it knew.
"""

from dbmpi.comm.awake import Deadline, awake
from dbmpi.comm.wait import JUDGED
from dbmpi.errors import CoordinatorSilent
from dbmpi.process import Process, kill

GRACE = 0.5  # of cluster.timeout_s: for the news of its death to come


class CoordinatorWatch:
    """When the coordinator was heard last.

    Parameters
    ----------
    timeout_s
        `cluster.timeout_s`.
    name
        How messages call the coordinator.
    process
        To be killed if it is silent; None where its death would end the job.
    """

    def __init__(self, timeout_s: float, name: str, process: Process | None) -> None:
        self._timeout_s, self._name, self._process = timeout_s, name, process
        self._heard, self._grace = awake(), None if process is None else Deadline(0.0)
        self._ended = False

    def heard(self) -> None:
        """Note a message of the coordinator."""
        self._heard = awake()

    def look(self) -> bool:
        """Look, when all its messages are read; end it if it is silent, and return whether it is. Local."""
        silent = awake() - self._heard > JUDGED * self._timeout_s
        if silent and self._process is not None and not self._ended:
            self._ended, self._grace = True, Deadline(GRACE * self._timeout_s)
            kill(self._process)
        return silent

    def judge(self) -> None:
        """See `look`.

        Raises
        ------
        CoordinatorSilent
            It is silent, and no news of its death comes either.
        """
        if self.look() and (self._grace is None or self._grace.passed()):
            raise CoordinatorSilent(self.text)

    @property
    def text(self) -> str:
        """What is said of it when it is silent."""
        waited_s = JUDGED * self._timeout_s
        return f"no sign of life within {waited_s:g} s ({JUDGED:g} cluster.timeout_s) from {self._name}"
