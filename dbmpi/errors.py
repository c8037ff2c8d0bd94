"""The conditions that end a run, as exceptions, and the exit status of each."""

from collections.abc import Sequence

STATUS_OK = 0
STATUS_FAILURE = 1
STATUS_USER_ERROR = 2
STATUS_DIVERGED = 3
STATUS_INTERRUPTED = 130  # 128 + SIGINT
STATUS_STOPPED = 85  # before the end of the run, with a checkpoint to go on from
STATUS_OWNED = 86  # the run directory belongs to another job: this one has not begun
STATUS_TAKEN_OVER = 87  # another job has taken the run directory over: this one has ended


class UserError(Exception):
    """A mistake the user can mend: its text names the place, the value and the remedy.

    Found before the roles split, printed once, without a traceback; every rank leaves with
    `status`.
    """

    status = STATUS_USER_ERROR


class DirectoryOwned(UserError):
    """Another job owns the run directory; the text says who."""

    status = STATUS_OWNED


class RunFinished(UserError):
    """No mistake: the run has come to its end before, and nothing more is asked for; the text says so."""

    status = STATUS_OK


class TakenOver(Exception):
    """Another job has taken the run directory over, and this one must end; the text says who."""


class Unreadable(Exception):
    """A file that was whole when the run was set up cannot be read by this rank; the text says what to do.

    Nothing is done instead: the failure may pass, and the run can go on then.
    """


def silence(who: str, waited_s: float) -> str:
    """Return what is said, wherever it is said, of somebody who is silent for too long."""
    return f"no sign of life for {waited_s:g} s from {who}"


class PeerSilent(Exception):
    """A peer gave no sign of life within its deadline; the text names the peer."""

    @classmethod
    def named(cls, who: str, waited_s: float) -> "PeerSilent":
        """Make the error for a peer, and what is waited for; seconds by `dbmpi.awake`."""
        return cls(silence(who, waited_s))


class Fenced(Exception):
    """This rank was silent for too long, and the run goes on without it: it leaves, and changes nothing."""


class PeerDied(Exception):
    """A rank has died, and the run cannot go on without it; the text names it."""

    @classmethod
    def named(cls, names: Sequence[str]) -> "PeerDied":
        """Make the error for ranks, by their names."""
        has, it = ("has", "it") if len(names) == 1 else ("have", "them")
        return cls(f"{', '.join(names)} {has} died, and the run cannot go on without {it}")


class CoordinatorDied(PeerDied):
    """The coordinator has died, after a checkpoint: the job ends with `STATUS_STOPPED`."""


class JobEnded(Exception):
    """Another rank ends the job, and prints why."""


class ProtocolError(Exception):
    """A message arrived with a tag, size or content that its sender should never have sent."""
