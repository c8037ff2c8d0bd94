"""Whether the coordinator is silent, as other ranks see it: it gives signs of life to all.

Shards judge it, for all. Where ranks may die every rank of its host that misses it kills it, as it must not
wake when a checkpoint has been made of what it knew.
"""

from dbmpi.awake import Deadline, awake
from dbmpi.comm.wait import GRACE, JUDGED
from dbmpi.errors import PeerSilent, silence
from dbmpi.process import Process, kill


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
        PeerSilent
            It is silent, and no news of its death comes either.
        """
        if self.look() and (self._grace is None or self._grace.passed()):
            raise PeerSilent(self.text)

    @property
    def missed(self) -> bool:
        """Whether it was silent for longer than one that lives is: then another rank may have killed it."""
        return awake() - self._heard > self._timeout_s

    @property
    def text(self) -> str:
        """What is said of it when it is silent."""
        return silence(self._name, JUDGED * self._timeout_s)
