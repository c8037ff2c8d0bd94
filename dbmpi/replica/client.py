"""The parameter service as a partition sees it: fetch and push in the background, one at a time.

`mpi_client.MpiClient` reaches shards over MPI, `run.roles.serial.LocalClient` one in the same process.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from dbmpi.arrays import Array
from dbmpi.comm.protocol import NO_ROUND, Op


class Outcome(NamedTuple):
    """How an exchange with the shards ended.

    `versions` are those of the fetched parameters, a piece each, or None if nothing was fetched;
    `refused` counts the pieces whose push a shard refused, of a pass over the batch that has ended too;
    `late` those whose round was over; `next_round` is the number of the round that comes next. `behind` says
    of each piece whose push was taken how many updates it has had since the version that was pushed, one by
    this push with them.
    """

    versions: NDArray[np.int64] | None
    refused: int
    late: int = 0
    next_round: int = 0
    behind: Sequence[int] = ()


class Share(NamedTuple):
    """A replica's share of a round: its number, and the weight of the gradient in the mean."""

    number: int
    weight: float


ALONE = Share(NO_ROUND, 1.0)  # an exchange that waits for nobody


class Request(NamedTuple):
    """What a partition asks of the shards, of all its pieces.

    `gradient`, of `steps` minibatches from parameters of `versions`, must stay as it is until the exchange
    has ended; it is not looked at unless `op` pushes or accrues. Where it accrues, `versions` is the number
    of the pass over the batch, for each piece. Where it only fetches, `versions` and `steps` are those of
    what is accrued and will be pushed later. `rate` is the learning rate.
    """

    op: Op
    gradient: Array
    versions: NDArray[np.int64]
    rate: float = 0.0
    steps: int = 0
    share: Share = ALONE


class ParameterClient(Protocol):
    """What the training loop needs of the parameter service.

    `shared` says whether the buffer in which parameters arrive is the shard's own, so that the
    replica computes on it and a fetch moves nothing.
    """

    shared: bool

    def room(self) -> Array:
        """Return a vector of the partition's length for gradients or parameters that travel.

        Only in such a one can a shard on this node read or write in place.
        """

    def begin(self, request: Request) -> None:
        """Begin an exchange; the one before must have ended. That of a round ends with its step."""

    def pushed_square(self, gradient: Array) -> float:
        """Return the sum of squares of a gradient whose push has just begun."""

    def poll(self) -> Outcome | None:
        """Return the outcome if an exchange has just ended, else None."""

    def wait(self) -> Outcome:
        """Wait for the exchange in flight, and return its outcome."""

    def progress(self) -> None:
        """Let what is in flight move on; called between layers."""

    @property
    def busy(self) -> bool:
        """Whether an exchange is in flight."""

    @property
    def incoming(self) -> Array:
        """The buffer in which fetched parameters arrive."""

    def forget(self) -> None:
        """Drop what rounding has taken from the gradients so far and would be added to the next."""

    def adopt(self, spare: Array) -> None:
        """Let the next fetch arrive in `spare`; the last one's buffer is the caller's from now on."""

    def reroute(self, dead: int, successor: int) -> None:
        """A shard has died, and another one has its pieces: ask that one, for what is in flight too."""
