"""TensorBoard's files, read back."""

import struct
from pathlib import Path
from typing import Any


def events(path: Path) -> list[Any]:
    """Return the events of a file, whose checksums must be right."""
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.record_writer import masked_crc32c

    content, found, at = path.read_bytes(), [], 0
    while at < len(content):
        size = struct.unpack_from("<Q", content, at)[0]
        assert struct.unpack_from("<I", content, at + 8)[0] == masked_crc32c(content[at : at + 8])
        event = content[at + 12 : at + 12 + size]
        assert struct.unpack_from("<I", content, at + 12 + size)[0] == masked_crc32c(event)
        found.append(Event.FromString(event))
        at += size + 16
    return found


def scalars(event: Any) -> dict[str, float]:
    """Return the scalars of an event, by tag."""
    return {value.tag: value.simple_value for value in event.summary.value}
