"""Movement across the boundaries of one replica: persistent point-to-point sends, made once.

The plan of who sends what is `dbmpi.partition`'s. A `Workspace` holds the buffers of one minibatch
width; its messages leave from and arrive in those buffers, with no packing: the states of a
partition's units are contiguous rows of `(units, B)`.

Shape letters: B minibatch, U units of a layer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dbmpi.partition import STATS_ROWS, Partitioning, Traffic, Transfer
from dbmpi.protocol import Phase, boundary_tag
from dbmpi.waiting import Waiter

if TYPE_CHECKING:
    from mpi4py import MPI

Array = NDArray[Any]
PATIENCE = 1.1  # of cluster.timeout_s


class Workspace:
    """The buffers of one partition for minibatches of one width.

    Attributes
    ----------
    states : list of (U, B) arrays
        `states[0]` is the input, `states[l + 1]` the output of layer l: all units of it where the
        next layer is computed here too, so that remote rows arrive in their place.
    own : list of (units owned, B) arrays
        The rows of `states[l + 1]` that this partition computes.
    derivatives : list of (U, B) arrays
        Partial derivatives of the loss by `states[l + 1]`, of this partition's units of layer l + 1.
    returned : list of {partition: (units owned, B) array}
        Derivatives by this partition's own units of layer l, as the other partitions send them.
    stats, merged : (P, 4, B) and (4, B) float64 arrays
        The output reduction (`kernels.losses`): each partition's part, and the whole.
    """

    def __init__(self, plan: Partitioning, partition: int, width: int, dtype: np.dtype[Any]) -> None:
        layers = plan.network.layers
        self.width = width
        self.states = [np.zeros((plan.network.inputs, width), dtype)]
        self.states += [np.zeros((layer.units, width), dtype) for layer in layers]
        ranges = [units[partition] for units in plan.units]
        self.own = [state[a:b] for state, (a, b) in zip(self.states[1:], ranges, strict=True)]
        self.derivatives = [np.zeros((layer.units, width), dtype) for layer in layers[:-1]]
        self.extra = [np.empty_like(own) for own in self.own] if plan.partitions > 1 else []
        self.returned: list[dict[int, Array]] = [{} for _ in layers]
        for t in plan.transfers:
            if t.owner == partition:
                self.returned[t.layer][t.reader] = np.zeros((t.units, width), dtype)
        self.stats = np.zeros((plan.partitions, STATS_ROWS, width))
        self.stats[:, 0], self.stats[:, 3] = -np.inf, -1.0  # what a partition without outputs adds
        self.merged = np.zeros((STATS_ROWS, width))


@dataclass
class _Channel:
    """Persistent requests that start and end together, and the peer of each, for messages."""

    requests: "list[MPI.Prequest]"
    peers: list[int]
    what: str
    traffic: Traffic = Traffic(0, 0)


class Boundary:
    """The exchanges of one partition in one workspace. Local to make; no collective anywhere.

    With one partition there is nothing to exchange: every list is empty, and no MPI is needed.

    Parameters
    ----------
    reduction
        Whether the loss exchanges output statistics (it does where the targets are labels).
    """

    def __init__(
        self,
        comm: "MPI.Intracomm | None",
        plan: Partitioning,
        partition: int,
        space: Workspace,
        waiter: Waiter,
        reduction: bool,
    ) -> None:
        self._comm, self._waiter, self._partition = comm, waiter, partition
        self.sent = Traffic(0, 0)
        layers = range(len(plan.network.layers))
        outward = [_of(plan.transfers, layer, owner=partition) for layer in layers]
        inward = [_of(plan.transfers, layer, reader=partition) for layer in layers]

        self._states_out = [self._sends(ts, Phase.STATES, space.states) for ts in outward]
        self._states_in = [self._receives(ts, Phase.STATES, space.states) for ts in inward]
        self._derivatives_out = [self._sends(ts, Phase.DERIVATIVES, space.derivatives) for ts in inward]
        self._derivatives_in = [self._returns(ts, space.returned) for ts in outward]
        self._stats_out, self._stats_in = self._reduction(plan if reduction else None, space)

    def _reduction(self, plan: Partitioning | None, space: Workspace) -> tuple[_Channel, _Channel]:
        if plan is None:
            return _Channel([], [], ""), _Channel([], [], "")
        me, last = self._partition, len(plan.network.layers) - 1
        tag = boundary_tag(last, Phase.OUTPUT_STATS)
        to = [q for q in plan.output_readers if q != me and me in plan.output_owners]
        of = [q for q in plan.output_owners if q != me and me in plan.output_readers]
        out = [self._send(space.stats[me], q, tag) for q in to]
        into = [self._receive(space.stats[q], q, tag) for q in of]
        traffic = Traffic(len(to), len(to) * space.stats[me].nbytes)
        return _Channel(out, to, "output statistics", traffic), _Channel(into, of, "output statistics")

    def _send(self, rows: Array, peer: int, tag: int) -> "MPI.Prequest":
        assert self._comm is not None
        return self._comm.Send_init(rows, peer, tag)

    def _receive(self, rows: Array, peer: int, tag: int) -> "MPI.Prequest":
        assert self._comm is not None
        return self._comm.Recv_init(rows, peer, tag)

    def _sends(self, transfers: Sequence[Transfer], phase: Phase, buffers: Sequence[Array]) -> _Channel:
        """Send whole rows of a layer's buffer: states by their owner, derivatives by their reader."""
        forward = phase is Phase.STATES
        requests, peers, size = [], [], 0
        for t in transfers:
            rows = buffers[t.layer + forward][t.start : t.stop]
            peers.append(t.reader if forward else t.owner)
            requests.append(self._send(rows, peers[-1], boundary_tag(t.layer, phase)))
            size += rows.nbytes
        return _Channel(requests, peers, phase.name.lower(), Traffic(len(requests), size))

    def _receives(self, transfers: Sequence[Transfer], phase: Phase, buffers: Sequence[Array]) -> _Channel:
        requests = [
            self._receive(buffers[t.layer + 1][t.start : t.stop], t.owner, boundary_tag(t.layer, phase))
            for t in transfers
        ]
        return _Channel(requests, [t.owner for t in transfers], f"states of layer {_layer(transfers)}")

    def _returns(self, transfers: Sequence[Transfer], returned: Sequence[dict[int, Array]]) -> _Channel:
        requests = [
            self._receive(returned[t.layer][t.reader], t.reader, boundary_tag(t.layer, Phase.DERIVATIVES))
            for t in transfers
        ]
        return _Channel(requests, [t.reader for t in transfers], f"derivatives of layer {_layer(transfers)}")

    def begin_forward(self) -> None:
        """Post the receives of all states, so that none arrives unexpected."""
        for channel in self._states_in:
            self._start(channel)
        self._start(self._stats_in)

    def begin_backward(self) -> None:
        """Post the receives of all derivatives."""
        for channel in self._derivatives_in:
            self._start(channel)

    def send_states(self, layer: int) -> None:
        """Begin to send this partition's rows of layer `layer` to those who need them."""
        self._start(self._states_out[layer])

    def wait_states(self, layer: int) -> None:
        """Wait for the rows of layer `layer` that others compute."""
        self._wait(self._states_in[layer])

    def send_derivatives(self, layer: int) -> None:
        """Begin to send the derivatives by other partitions' rows of layer `layer`."""
        self._start(self._derivatives_out[layer])

    def wait_derivatives(self, layer: int) -> None:
        """Wait for the derivatives by own rows of layer `layer` from those who read them."""
        self._wait(self._derivatives_in[layer])

    def exchange_stats(self) -> None:
        """Send this partition's part of the output reduction, and wait for the others'."""
        self._start(self._stats_out)
        self._wait(self._stats_in)

    def finish(self) -> None:
        """Wait until every send has left its buffer, which the next minibatch will overwrite."""
        for channel in (*self._states_out, *self._derivatives_out, self._stats_out):
            self._wait(channel)

    def free(self) -> None:
        """Free the persistent requests."""
        for channels in (self._states_out, self._states_in, self._derivatives_out, self._derivatives_in):
            for channel in channels:
                _free(channel)
        _free(self._stats_out)
        _free(self._stats_in)

    def _start(self, channel: _Channel) -> None:
        if channel.requests:
            channel.requests[0].Startall(channel.requests)
            self.sent += channel.traffic

    def _wait(self, channel: _Channel) -> None:
        if channel.requests:
            done = partial(channel.requests[0].Testall, channel.requests)
            # Longer than the other partition waits for a shard: then that one knows who is silent.
            self._waiter.until(done, partial(self._silent, channel), PATIENCE)

    def _silent(self, channel: _Channel) -> str:
        """Name the partitions that have not answered, by world rank."""
        from mpi4py import MPI

        assert self._comm is not None
        pairs = zip(channel.peers, channel.requests, strict=True)
        late = [peer for peer, request in pairs if not request.Test()]
        ranks = self._comm.Get_group().Translate_ranks(late, MPI.COMM_WORLD.Get_group())
        names = [f"rank {rank} (partition {p} of this replica)" for rank, p in zip(ranks, late, strict=True)]
        return f"{', '.join(names)}: {channel.what}"


def _of(
    transfers: Sequence[Transfer], layer: int, owner: int | None = None, reader: int | None = None
) -> list[Transfer]:
    here = [t for t in transfers if t.layer == layer]
    return [t for t in here if owner in (None, t.owner) and reader in (None, t.reader)]


def _layer(transfers: Sequence[Transfer]) -> int:
    return transfers[0].layer if transfers else -1


def _free(channel: _Channel) -> None:
    for request in channel.requests:
        request.Free()
