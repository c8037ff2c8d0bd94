"""Ways to spoil the bytes of a file, whatever they mean."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np

Rng = np.random.Generator
HEAD = 4096  # most of the metadata of such small files lies in its first bytes
EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**40, 2**62, 2**63, 2**64 - 1)
MARKS = (b"TREE", b"SNOD", b"HEAP", b"GCOL", b"OHDR", b"OCHK", b"BTHD", b"BTLF", b"FAHD", b"FADB", b"FSHD",
         b"FRHP", b"deflate", b"shuffle", b"\x89HDF")  # fmt: skip


def truncate(path: Path, rng: Rng) -> str:
    """Cut the file."""
    size = path.stat().st_size
    keep = int(rng.integers(0, size))
    path.write_bytes(path.read_bytes()[:keep])
    return f"to {keep} of {size}"


def flip_bits(path: Path, rng: Rng) -> str:
    """Flip single bits anywhere."""
    return _change(path, rng, int(rng.integers(1, 9)), 1 << 30, lambda old: old ^ (1 << int(rng.integers(8))))


def flip_bits_of_the_head(path: Path, rng: Rng) -> str:
    """Flip single bits where the metadata is."""
    return _change(path, rng, int(rng.integers(1, 5)), HEAD, lambda old: old ^ (1 << int(rng.integers(8))))


def set_bytes_of_the_head(path: Path, rng: Rng) -> str:
    """Set some bytes where the metadata is to anything."""
    return _change(path, rng, int(rng.integers(1, 4)), HEAD, lambda old: int(rng.integers(256)))


def set_a_number(path: Path, rng: Rng) -> str:
    """Write an extreme number of 1 to 8 bytes over metadata: counts, sizes and addresses."""
    content = bytearray(path.read_bytes())
    width = int(rng.choice([1, 2, 4, 8]))
    at = int(rng.integers(0, min(HEAD, len(content)) // width)) * width
    value = EXTREMES[rng.integers(len(EXTREMES))] % (1 << 8 * width)
    content[at : at + width] = value.to_bytes(width, "little")
    path.write_bytes(content)
    return f"{value} in {width} bytes at {at}"


def copy_an_address(path: Path, rng: Rng) -> str:
    """Let one 8-byte address lead where another one leads: cycles and overlaps."""
    content = bytearray(path.read_bytes())
    words = struct.unpack(f"<{len(content) // 8}Q", content[: len(content) // 8 * 8])
    places = [i for i, word in enumerate(words) if 0 < word < len(content) and word % 8 == 0]
    if len(places) < 2:
        return "(there are none)"
    source, target = rng.choice(places, 2, replace=False)
    content[target * 8 : target * 8 + 8] = content[source * 8 : source * 8 + 8]
    path.write_bytes(content)
    return f"from {source * 8} to {target * 8}"


def spoil_behind_a_mark(path: Path, rng: Rng) -> str:
    """Set bytes just behind the signature of a structure."""
    content = bytearray(path.read_bytes())
    marks = [mark for mark in MARKS if mark in content]
    mark = marks[rng.integers(len(marks))]
    places = [i for i in range(len(content)) if content.startswith(mark, i)]
    at = int(rng.choice(places)) + len(mark) + int(rng.integers(0, 48))
    if at < len(content):
        content[at] = int(rng.choice([0, 1, 0x7F, 0x80, 0xFF, int(rng.integers(256))]))
    path.write_bytes(content)
    return f"{mark!r} at {at}"


def overwrite(path: Path, rng: Rng) -> str:
    """Overwrite a stretch by zeros, ones or noise."""
    content = bytearray(path.read_bytes())
    start, length = int(rng.integers(len(content))), int(rng.integers(1, 600))
    stop = min(start + length, len(content))
    kind = int(rng.integers(3))
    piece = rng.bytes(stop - start) if kind == 2 else bytes([0 if kind == 0 else 255]) * (stop - start)
    content[start:stop] = piece
    path.write_bytes(content)
    return f"{start}:{stop} by {('zeros', 'ones', 'noise')[kind]}"


def insert_or_delete(path: Path, rng: Rng) -> str:
    """Move everything behind a place."""
    content, length = path.read_bytes(), int(rng.integers(1, 64))
    at = int(rng.integers(len(content)))
    longer = bool(rng.integers(2))
    path.write_bytes(content[:at] + (rng.bytes(length) + content[at:] if longer else content[at + length :]))
    return f"{'insert' if longer else 'delete'} {length} at {at}"


def swap(path: Path, rng: Rng) -> str:
    """Exchange two stretches, as a file system that mixes up blocks does."""
    content, length = bytearray(path.read_bytes()), int(rng.choice([64, 256, 512]))
    first, second = (int(i) * length for i in rng.choice(max(2, len(content) // length), 2, replace=False))
    one, two = content[first : first + length], content[second : second + length]
    content[first : first + length], content[second : second + length] = two, one
    path.write_bytes(content)
    return f"{length} at {first} and {second}"


def _change(path: Path, rng: Rng, count: int, end: int, new: Callable[[int], int]) -> str:
    content = bytearray(path.read_bytes())
    places = [int(i) for i in rng.integers(0, len(content[:end]), count)]
    for at in places:
        content[at] = new(content[at])
    path.write_bytes(content)
    return f"at {places}"


SPOILERS = (
    truncate,
    flip_bits,
    flip_bits_of_the_head,
    flip_bits_of_the_head,
    set_bytes_of_the_head,
    set_a_number,
    set_a_number,
    copy_an_address,
    copy_an_address,
    spoil_behind_a_mark,
    spoil_behind_a_mark,
    overwrite,
    insert_or_delete,
    swap,
)
