"""Boxes, against NumPy's indexing of arrays whose every element is its own flat position."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbmpi.layout import boxes as blocks

SHAPES = st.lists(st.integers(1, 5), max_size=4).map(tuple)


@st.composite
def boxes(draw, shape, least=0):
    """Draw a box of an array of `shape`, each range at least `least` long."""
    starts = [draw(st.integers(0, extent - least)) for extent in shape]
    return tuple((i, draw(st.integers(i + least, extent))) for i, extent in zip(starts, shape, strict=True))


@st.composite
def cases(draw, count=1, least=0):
    """Draw a shape and boxes of it."""
    shape = draw(SHAPES)
    return shape, *(draw(boxes(shape, least)) for _ in range(count))


def cut(shape, box):
    """Return the flat positions of a box's elements, in its shape."""
    positions = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    return positions[tuple(slice(*edges) for edges in box)]


def expanded(found):
    return [position for start, length in found for position in range(start, start + length)]


@given(cases())
def test_extents_and_volume_are_those_of_the_slice(case):
    shape, box = case
    assert blocks.extents(box) == cut(shape, box).shape
    assert blocks.volume(box) == cut(shape, box).size
    assert cut(shape, blocks.whole(shape)).shape == shape


@given(cases(count=2))
def test_meet_inside_and_hull_are_those_of_sets(case):
    shape, a, b = case
    set_a, set_b = set(cut(shape, a).flat), set(cut(shape, b).flat)
    shared = blocks.intersection(a, b)
    assert (set_a & set_b) == (set() if shared is None else set(cut(shape, shared).flat))
    assert shared is None or blocks.volume(shared)
    assert blocks.inside(a, b) == (set_a <= set_b)
    assert set(cut(shape, blocks.hull(a, b)).flat) >= set_a | set_b


@given(cases(count=2, least=1))
def test_the_hull_is_the_smallest_box_around(case):
    shape, a, b = case
    union = np.zeros(shape, dtype=bool)
    union.flat[[*cut(shape, a).flat, *cut(shape, b).flat]] = True
    found = tuple((int(axis.min()), int(axis.max()) + 1) for axis in np.nonzero(np.atleast_1d(union)))
    assert blocks.hull(a, b) == (found if shape else ())


def test_an_empty_box_adds_nothing_to_a_hull():
    assert blocks.hull(((7, 7), (0, 3)), ((1, 2), (1, 2))) == ((1, 2), (1, 2))
    assert blocks.hull(((1, 2), (1, 2)), ((7, 7), (0, 3))) == ((1, 2), (1, 2))


@given(cases(count=2))
def test_within_finds_a_box_in_the_array_of_another(case):
    shape, a, outer = case
    box = blocks.intersection(a, outer)
    if box is not None:
        assert np.array_equal(cut(shape, outer)[blocks.within(box, outer)], cut(shape, box))


def test_within_refuses_what_lies_outside():
    with pytest.raises(ValueError, match="not inside"):
        blocks.within(((0, 3),), ((1, 4),))


@given(cases())
def test_runs_are_the_elements_in_order_and_as_long_as_can_be(case):
    shape, box = case
    found = list(blocks.runs(box, shape))
    assert expanded(found) == list(cut(shape, box).flat)
    ends = [start + length for start, length in found]
    assert all(length > 0 for _, length in found)
    assert not any(start == end for (start, _), end in zip(found[1:], ends, strict=False))
    assert blocks.contiguous(box, shape) == (len(found) <= 1)


@given(cases(), st.data())
def test_segments_are_a_range_of_the_box_s_vector(case, data):
    shape, box = case
    first = data.draw(st.integers(0, blocks.volume(box)))
    last = data.draw(st.integers(first, blocks.volume(box)))
    found = blocks.segments(box, shape, first, last)
    assert expanded(found) == list(cut(shape, box).flat)[first:last]


def test_the_runs_before_a_segment_cost_nothing():
    shape = (1 << 40, 8)
    box = ((0, 1 << 40), (2, 6))
    assert list(blocks.segments(box, shape, (1 << 42) - 5, 1 << 42)) == [
        ((1 << 43) - 11, 1),
        ((1 << 43) - 6, 4),
    ]


def test_a_tile_of_a_local_layer_has_one_run_an_image_row():
    shape = (90, 90, 8, 10, 10, 3)
    tile = ((45, 90), (30, 60), *blocks.whole(shape[2:]))
    assert [length for _, length in blocks.runs(tile, shape)] == [30 * 8 * 300] * 45
