"""Boxes of an array: what a partition owns, reads or sends, in any number of dimensions. Pure.

A box is one range (start, stop) a dimension, with 0 <= start <= stop. Its vector is its elements in
C order; the vector's positions and the array's flat positions meet in runs.
"""

from collections.abc import Iterator
from math import prod

Range = tuple[int, int]
Box = tuple[Range, ...]


def whole(shape: tuple[int, ...]) -> Box:
    """Return the box of an entire array. Local."""
    return tuple((0, extent) for extent in shape)


def extents(box: Box) -> tuple[int, ...]:
    """Return the shape of a box. Local."""
    return tuple(stop - start for start, stop in box)


def volume(box: Box) -> int:
    """Return the number of elements of a box. Local."""
    return prod(extents(box))


def intersection(a: Box, b: Box) -> Box | None:
    """Return the elements that two boxes share, None if there are none. Local."""
    shared = tuple((max(i, m), min(j, n)) for (i, j), (m, n) in zip(a, b, strict=True))
    return shared if all(start < stop for start, stop in shared) else None


def hull(a: Box, b: Box) -> Box:
    """Return the smallest box around two; an empty one adds nothing. Local."""
    if not volume(a) or not volume(b):
        return a if volume(a) else b
    return tuple((min(i, m), max(j, n)) for (i, j), (m, n) in zip(a, b, strict=True))


def inside(a: Box, b: Box) -> bool:
    """Return whether all elements of `a` are elements of `b`. Local."""
    return not volume(a) or intersection(a, b) == a


def within(box: Box, outer: Box) -> tuple[slice, ...]:
    """Return where `box` lies in an array that holds `outer`. Local.

    Raises
    ------
    ValueError
        It does not lie inside: negative positions would count from the array's end.
    """
    if not inside(box, outer):
        raise ValueError(f"{box} is not inside {outer}")
    pairs = zip(box, outer, strict=True)
    return tuple(slice(start - corner, stop - corner) for (start, stop), (corner, _) in pairs)


def contiguous(box: Box, shape: tuple[int, ...]) -> bool:
    """Return whether a box is one run of an array of `shape` in C order, or none. Local."""
    return volume(box) == 0 or _run(box, shape)[1] == volume(box)


def runs(box: Box, shape: tuple[int, ...]) -> Iterator[Range]:
    """Return the runs of a box, each as long as can be: (flat start, length), in C order. Local."""
    return segments(box, shape, 0, volume(box))


def segments(box: Box, shape: tuple[int, ...], first: int, last: int) -> Iterator[Range]:
    """Yield the runs of positions [first, last) of the box's vector: (flat start, length). Local.

    The runs before `first` cost nothing.

    Parameters
    ----------
    box : Box
    shape : tuple of int
        Of the array that the box is cut from.
    first, last : int
        Positions in the box's vector, 0 <= first <= last <= volume.
    """
    if first == last:
        return
    depth, length = _run(box, shape)
    while first < last:
        number, skipped = divmod(first, length)
        taken = min(length - skipped, last - first)
        yield _flat(box, shape, depth, number) + skipped, taken
        first += taken


def _run(box: Box, shape: tuple[int, ...]) -> tuple[int, int]:
    """Return how many leading dimensions number the runs, and the length of every run."""
    depth = len(shape)
    while depth and box[depth - 1] == (0, shape[depth - 1]):
        depth -= 1
    # A run takes in the last dimension that is cut, and the whole ones below it.
    depth = max(depth - 1, 0)
    return depth, prod(extents(box[depth:]))


def _flat(box: Box, shape: tuple[int, ...], depth: int, number: int) -> int:
    """Return the flat position in the array where run `number` starts."""
    indices = [start for start, _ in box]
    for axis in reversed(range(depth)):
        number, index = divmod(number, box[axis][1] - box[axis][0])
        indices[axis] += index
    position = 0
    for index, extent in zip(indices, shape, strict=True):
        position = position * extent + index
    return position


def balanced(n: int, parts: int) -> tuple[Range, ...]:
    """Cut `n` things into `parts` contiguous ranges; the first n mod parts have one more."""
    base, extra = divmod(n, parts)
    starts = [p * base + min(p, extra) for p in range(parts + 1)]
    return tuple(zip(starts[:-1], starts[1:], strict=True))
