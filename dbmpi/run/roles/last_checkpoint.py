"""What a run that a death or a silence has ended leaves, and what its user can do: one line says it all."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from dbmpi.errors import STATUS_FAILURE, CoordinatorDied, PeerDied, PeerSilent, UserError

if TYPE_CHECKING:
    from dbmpi.run.plan.setup import Setup

KEY = "cluster.timeout_s"


@contextmanager
def naming_the_last_checkpoint(setup: "Setup") -> Iterator[None]:
    """Add to the message of such an end its status, the last checkpoint, and what may help. Local.

    Raises
    ------
    PeerDied, PeerSilent
        Those that came, with the text; one that tells of a checkpoint already, as it is.
    """
    try:
        yield
    except CoordinatorDied:
        raise
    except (PeerDied, PeerSilent) as error:
        text = f"{error}; the job ends with status {STATUS_FAILURE}: {last_checkpoint(setup)}"
        if isinstance(error, PeerSilent) and KEY not in text:
            text += f"; if it was only slow, raise {KEY} = {setup.config.cluster.timeout_s:g}"
        raise type(error)(text) from None


def last_checkpoint(setup: "Setup") -> str:
    """Say from what a run can go on. Local.

    Of a checkpoint only sizes are compared, as others wait, or end the job meanwhile. Who goes on from it
    compares the checksums.
    """
    from dbmpi.checkpoint.pruning import newest

    saved = None
    with suppress(UserError):  # they cannot be read now
        saved = newest(setup.run_dir)
    if saved is None:
        return "there is no checkpoint to go on from"
    return f"{setup.go_on} from checkpoint {saved.manifest.number}, the last"
