"""A trace as Perfetto's own format: https://perfetto.dev/docs/reference/synthetic-track-event.

A process for each node, a track for each rank, and under it tracks of what goes on beside. Names stand once
for each rank, and slices refer to them by number.
"""

from collections.abc import Iterator
from typing import IO, Any

from dbmpi.extras import extra
from dbmpi.trace.rank_file import RankFile
from dbmpi.trace.slices import Row, Slice

with extra("perfetto"):
    from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import (
        TracePacket,
        TrackDescriptor,
        TrackEvent,
    )
    from perfetto.trace_builder.proto_builder import StreamingTraceProtoBuilder

NODES, RANKS = 1 << 40, 1 << 20  # numbers of tracks: a node's, and the first of a rank's
COUNTER, FIRST_LANE = 1, 2  # in those of a rank


class PerfettoFile:
    """Writes packets to a file. See `writing.Writer`."""

    def __init__(self, file: IO[bytes]) -> None:
        self._builder, self._node = StreamingTraceProtoBuilder(file), 0

    def node(self, number: int, host: str) -> None:
        """See `Writer.node`."""
        self._node = NODES + number
        packet = self._builder.create_packet()
        descriptor = packet.track_descriptor
        descriptor.uuid, descriptor.child_ordering = self._node, TrackDescriptor.EXPLICIT
        descriptor.process.pid, descriptor.process.process_name = number + 1, f"node {number} ({host})"
        self._builder.write_packet(packet)

    def rank(self, file: RankFile, made: Iterator[Slice]) -> None:
        """See `Writer.rank`."""
        tracks = _Tracks(self._builder, self._node, file)
        for one in made:
            tracks.write(one)
        tracks.close()


class _Tracks:
    """The tracks of one rank."""

    def __init__(self, builder: Any, node: int, file: RankFile) -> None:
        self._builder, self._rank = builder, file.rank
        self._own = (file.rank + 1) * RANKS
        self._numbers: dict[Row, int] = {}
        self._open: dict[int, list[int]] = {}  # ends of open slices, by track
        self._names: dict[str, int] = {}
        self._fields: dict[str, int] = {}
        self._counter = 0
        first = self._describe(self._own, node, file.name, rank=file.rank)
        first.sequence_flags = TracePacket.SEQ_INCREMENTAL_STATE_CLEARED
        self._write(first)
        self._numbers[Row()] = self._own

    def _describe(self, number: int, parent: int, name: str, rank: int = 0) -> Any:
        """Return the packet that begins a track."""
        packet = self._builder.create_packet()
        descriptor = packet.track_descriptor
        descriptor.uuid, descriptor.parent_uuid, descriptor.name = number, parent, name
        descriptor.sibling_order_rank = rank
        return packet

    def _write(self, packet: Any) -> None:
        packet.trusted_packet_sequence_id = self._rank + 2
        self._builder.write_packet(packet)

    def write(self, one: Slice) -> None:
        """Write a slice; those of a row come in order."""
        track = self._track(one.row)
        self._end(track, one.start)
        packet = self._event(TrackEvent.TYPE_SLICE_BEGIN, track, one.start)
        event = packet.track_event
        event.name_iid = self._interned(packet.interned_data.event_names, self._names, one.name)
        for name, value in one.about.items():
            annotation = event.debug_annotations.add()
            into = packet.interned_data.debug_annotation_names
            annotation.name_iid = self._interned(into, self._fields, name)
            annotation.int_value = value
        event.flow_ids.extend((*one.begins, *one.passes))
        event.terminating_flow_ids.extend(one.ends)
        self._write(packet)
        self._open.setdefault(track, []).append(one.stop)
        if one.counter is not None:
            self._count(one.stop, one.counter)

    def close(self) -> None:
        """End what is open."""
        for track in self._open:
            self._end(track, 1 << 62)

    def _end(self, track: int, until: int) -> None:
        """End the slices of a track that end by then."""
        ends = self._open.get(track, [])
        while ends and ends[-1] <= until:
            self._write(self._event(TrackEvent.TYPE_SLICE_END, track, ends.pop()))

    def _event(self, kind: Any, track: int, at: int) -> Any:
        packet = self._builder.create_packet()
        packet.timestamp, packet.sequence_flags = at, TracePacket.SEQ_NEEDS_INCREMENTAL_STATE
        packet.track_event.type, packet.track_event.track_uuid = kind, track
        return packet

    def _track(self, row: Row) -> int:
        """Return the number of the track of a row; it begins with its first slice."""
        if row not in self._numbers:
            self._numbers[row] = number = self._own + FIRST_LANE + len(self._numbers)
            self._write(self._describe(number, self._own, row.beside, rank=len(self._numbers)))
        return self._numbers[row]

    def _count(self, at: int, value: int) -> None:
        """Draw a point of the rank's counter."""
        if not self._counter:
            self._counter = self._own + COUNTER
            packet = self._describe(self._counter, self._own, "staleness")
            packet.track_descriptor.counter.unit_name = "updates"
            self._write(packet)
        packet = self._event(TrackEvent.TYPE_COUNTER, self._counter, at)
        packet.track_event.counter_value = value
        self._write(packet)

    def _interned(self, into: Any, known: dict[str, int], name: str) -> int:
        """Return the number of a name; the first time the packet says which."""
        if name not in known:
            known[name] = len(known) + 1
            entry = into.add()
            entry.iid, entry.name = known[name], name
        return known[name]
