"""Movement across the boundaries of one replica: persistent point-to-point sends, made once.

`Partitioning.transfers` says who sends what to whom. Messages are sent from and received in the buffers of a
`Workspace`. The states of consecutive units are contiguous rows of `(units, B)` and are sent as they are; of
the edge of a tile MPI picks out the rows itself (a subarray datatype).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from dbmpi.arrays import Array
from dbmpi.comm.protocol import BoundaryPhase, boundary_tag
from dbmpi.comm.wait import Cause, Waiter
from dbmpi.layout.boxes import extents, within
from dbmpi.layout.partitioning import Partitioning, Transfer
from dbmpi.model.workspace import Workspace

if TYPE_CHECKING:
    from mpi4py import MPI

Message = Any  # what mpi4py takes as a buffer: an array, or [array, count, datatype]
PATIENCE = 1.1  # of the waiter's, see `Boundary._wait`


@dataclass(frozen=True)
class Peers:
    """How a partition reaches the other partitions of its replica.

    Attributes
    ----------
    comm
        The replica's communicator. None: nothing is exchanged, even where there are other partitions.
    waiter
        Waits for them.
    progress
        Called between layers, so that messages in flight move on.
    """

    comm: "MPI.Intracomm | None" = None
    waiter: Waiter = field(default_factory=lambda: Waiter(timeout_s=300.0))
    progress: Callable[[], object] = lambda: None


@dataclass
class _Channel:
    """Persistent requests that start and end together, the peer of each for messages, and what they carry."""

    what: str
    cause: Cause
    requests: "list[MPI.Prequest]" = field(default_factory=list)
    peers: list[int] = field(default_factory=list)
    messages: int = 0  # that this partition sends each time it starts, and their bytes
    bytes: int = 0


class Boundary:
    """The exchanges of one partition in one workspace. Local to make; no collective anywhere.

    With one partition there is nothing to exchange: every channel is empty, and no MPI is needed.

    Parameters
    ----------
    peers
        How the other partitions are reached.
    reduction
        Whether the loss exchanges output statistics (it does where the targets are labels).

    Attributes
    ----------
    messages, bytes : int
        Sent by this partition so far.
    """

    def __init__(
        self,
        peers: Peers,
        partitioning: Partitioning,
        partition: int,
        workspace: Workspace,
        reduction: bool,
    ) -> None:
        self._comm, self._waiter, self._types = peers.comm, peers.waiter, list[Any]()
        self._partitioning, self._partition, self._workspace = partitioning, partition, workspace
        self.messages = self.bytes = 0
        spaces = range(len(partitioning.network.spaces))
        outward = [
            [t for t in partitioning.transfers if (t.space, t.owner) == (s, partition)] for s in spaces
        ]
        inward = [
            [t for t in partitioning.transfers if (t.space, t.reader) == (s, partition)] for s in spaces
        ]
        self._states_out = [self._crossing(BoundaryPhase.STATES, True, ts) for ts in outward]
        self._states_in = [self._crossing(BoundaryPhase.STATES, False, ts) for ts in inward]
        self._derivatives_out = [self._crossing(BoundaryPhase.DERIVATIVES, True, ts) for ts in inward]
        self._derivatives_in = [self._crossing(BoundaryPhase.DERIVATIVES, False, ts) for ts in outward]
        self._stats_out, self._stats_in = self._reduction(reduction)
        self._shared_out, self._shared_in = self._sharing()

    # -- making the channels

    def _crossing(self, phase: BoundaryPhase, out: bool, transfers: Sequence[Transfer]) -> _Channel:
        """Make one side of a space's transfers: states go from owner to reader, derivatives back."""
        forward, workspace = phase is BoundaryPhase.STATES, self._workspace
        layer = f" of layer {transfers[0].space - 1}" if transfers else ""
        channel = _Channel(phase.name.lower() + layer, Cause[phase.name])
        for t in transfers:
            peer = t.reader if forward == out else t.owner
            if forward or out:
                message = self._edge(workspace.states if forward else workspace.derivatives, t)
            else:
                message = workspace.returned[t.space][t.reader]
            (self._send if out else self._receive)(channel, message, peer, phase, t.space)
        return channel

    def _reduction(self, takes_place: bool) -> tuple[_Channel, _Channel]:
        out, into = (_Channel("output statistics", Cause.OUTPUT_STATS) for _ in range(2))
        partitioning, me, stats = self._partitioning, self._partition, self._workspace.stats
        if takes_place and me in partitioning.output_owners:
            for q in partitioning.output_readers:
                self._send(out, stats[me], q, BoundaryPhase.OUTPUT_STATS, 0)
        if takes_place and me in partitioning.output_readers:
            for q in partitioning.output_owners:
                self._receive(into, stats[q], q, BoundaryPhase.OUTPUT_STATS, 0)
        return out, into

    def _sharing(self) -> tuple[_Channel, _Channel]:
        """Shared tensors go from partition 0 to the others, their gradients the other way."""
        down = _Channel("shared parameters", Cause.SHARED)
        up = _Channel("gradients of shared parameters", Cause.SHARED)
        workspace = self._workspace
        if self._partitioning.shared and self._partition == 0:
            for q, gradient in workspace.partial_gradients.items():
                self._send(down, workspace.shared, q, BoundaryPhase.SHARED, 0)
                self._receive(up, gradient, q, BoundaryPhase.SHARED, 1)
        elif self._partitioning.shared:
            self._receive(down, workspace.shared, 0, BoundaryPhase.SHARED, 0)
            self._send(up, workspace.shared_gradient, 0, BoundaryPhase.SHARED, 1)
        return down, up

    def _edge(self, buffers: list[Array], t: Transfer) -> Message:
        """Return a transfer's box in its buffer, as a message."""
        buffer, at = buffers[t.space], within(t.box, self._workspace.held[t.space])
        if buffer[at].flags.c_contiguous:
            return buffer[at]
        from mpi4py import MPI
        from mpi4py.util import dtlib

        starts = [*(one.start for one in at), 0]
        inner = [*extents(t.box), self._workspace.width]
        kind = dtlib.from_numpy_dtype(buffer.dtype).Create_subarray(
            list(buffer.shape), inner, starts, MPI.ORDER_C
        )
        self._types.append(kind.Commit())
        return [buffer, 1, kind]

    def _send(self, channel: _Channel, message: Message, to: int, phase: BoundaryPhase, space: int) -> None:
        if to != self._partition and self._comm is not None:
            channel.requests.append(self._comm.Send_init(message, to, boundary_tag(space, phase)))
            channel.peers.append(to)
            channel.messages += 1
            channel.bytes += _bytes(message)

    def _receive(
        self, channel: _Channel, message: Message, of: int, phase: BoundaryPhase, space: int
    ) -> None:
        if of != self._partition and self._comm is not None:
            channel.requests.append(self._comm.Recv_init(message, of, boundary_tag(space, phase)))
            channel.peers.append(of)

    # -- a minibatch

    def begin_forward(self, scored: bool = True) -> None:
        """Post the receives of all states, so that none arrives unexpected; send the shared tensors.

        `scored` says whether statistics of the output will be exchanged.
        """
        for channel in self._states_in:
            self._start(channel)
        if scored:
            self._start(self._stats_in)
        self._start(self._shared_out)
        if self._partition != 0:
            self._wait(self._shared_out)

    def begin_backward(self) -> None:
        """Post the receives of all derivatives."""
        for channel in self._derivatives_in:
            self._start(channel)
        if self._partition == 0:
            self._start(self._shared_in)

    def send_states(self, space: int) -> None:
        """Begin to send this partition's states of a space to the partitions that read them."""
        self._start(self._states_out[space])

    def wait_states(self, space: int) -> None:
        """Wait for the states of a space that others compute."""
        self._wait(self._states_in[space])

    def send_derivatives(self, space: int) -> None:
        """Begin to send the derivatives by other partitions' states of a space."""
        self._start(self._derivatives_out[space])

    def wait_derivatives(self, space: int) -> None:
        """Wait for the derivatives by own states of a space from the partitions that read them."""
        self._wait(self._derivatives_in[space])

    def exchange_stats(self) -> None:
        """Send this partition's part of the output reduction, and wait for the others'."""
        self._start(self._stats_out)
        self._wait(self._stats_in)

    def exchange_more_stats(self, fill: Callable[[], object]) -> None:
        """Exchange statistics a second time, once `fill` has written this partition's part."""
        self._wait(self._stats_out)
        fill()
        self._start(self._stats_in)
        self.exchange_stats()

    def sum_shared_gradients(self) -> None:
        """At partition 0: add the others' gradients of shared tensors to its own, in their order."""
        if self._partition != 0:
            self._start(self._shared_in)
        self._wait(self._shared_in)
        for gradient in self._workspace.partial_gradients.values():
            self._workspace.shared_gradient += gradient

    def finish(self) -> None:
        """Wait until every send has left its buffer, which the next minibatch will overwrite."""
        for channel in (*self._states_out, *self._derivatives_out, self._stats_out, self._shared_out):
            self._wait(channel)

    def free(self) -> None:
        """Free the persistent requests and the datatypes."""
        for channel in self._channels():
            for request in channel.requests:
                request.Free()
        for kind in self._types:
            kind.Free()

    def _channels(self) -> Iterator[_Channel]:
        for group in (self._states_out, self._states_in, self._derivatives_out, self._derivatives_in):
            yield from group
        yield from (self._stats_out, self._stats_in, self._shared_out, self._shared_in)

    def _start(self, channel: _Channel) -> None:
        if channel.requests:
            channel.requests[0].Startall(channel.requests)
            self.messages += channel.messages
            self.bytes += channel.bytes

    def _wait(self, channel: _Channel) -> None:
        if channel.requests:
            done = partial(channel.requests[0].Testall, channel.requests)
            # Longer than the other partition waits for a shard: then that one names the shard that is silent.
            patience = PATIENCE * self._waiter.patience
            self._waiter.until(done, partial(self._silent, channel), patience, channel.cause)

    def _silent(self, channel: _Channel) -> str:
        """Name the partitions that have not answered, by world rank."""
        from mpi4py import MPI

        assert self._comm is not None
        pairs = zip(channel.peers, channel.requests, strict=True)
        late = [peer for peer, request in pairs if not request.Test()]
        ranks = self._comm.Get_group().Translate_ranks(late, MPI.COMM_WORLD.Get_group())
        names = [f"rank {rank} (partition {p} of this replica)" for rank, p in zip(ranks, late, strict=True)]
        return f"{', '.join(names)}: {channel.what}"


def _bytes(message: Message) -> int:
    return int(message.nbytes) if not isinstance(message, list) else int(message[2].Get_size())
