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
# What users are told of each; README.md and docs/statuses.md have the same.
STATUSES = {
    f"{STATUS_OK}": "done: an epoch or step limit, a target, patience that is over, an optimizer "
    "that has converged",
    f"{STATUS_FAILURE}": "failed: an error, or a death or silence that the run cannot survive; also what "
    "Open MPI's mpirun ends with that got Ctrl-C, SIGTERM or SIGHUP itself",
    f"{STATUS_USER_ERROR}": "a mistake in the command line, the configuration or the data, or surroundings "
    "that no run can begin in; the message names the remedy",
    f"{STATUS_DIVERGED}": "diverged, or a batch method that could go no further",
    f"{STATUS_STOPPED}": "stopped by a signal, by train.max_time or by a death, or unable to write its last "
    "checkpoint, model or summary, with a checkpoint to go on from; or stopped before training: the same "
    "command, with its --run-dir, goes on",
    f"{STATUS_OWNED}": "not begun: another run has the directory",
    f"{STATUS_TAKEN_OVER}": "ended: another run has taken the directory over",
    f"{STATUS_INTERRUPTED}": "interrupted: Ctrl-C before training, or a second one",
    "137": "a rank was killed, as where memory runs out (MPICH's mpirun: 9): the same command, with its "
    "--run-dir, goes on from the last checkpoint",
    "138, 143": "SIGUSR1 or SIGTERM came before Python ran: the same command starts the run",
    "others above 128": "128 and the number of the signal that ended a rank, in a library or from outside",
}


class UserError(Exception):
    """A mistake the user can mend: its text names the place, the value and the remedy.

    Found before the roles split, printed once, without a traceback; every rank leaves with
    `status`. `remedy` is what the text leaves to whoever ends by it.
    """

    status, remedy = STATUS_USER_ERROR, ""

    @property
    def whole(self) -> str:
        """The text, with the remedy."""
        return f"{self}; {self.remedy}" if self.remedy else str(self)


class CannotWrite(UserError):
    """A file of the run cannot be written; the text says which, and why. A run may go on without it."""

    remedy = "look at the space and the quota there, or begin in another place with --run-dir"


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
