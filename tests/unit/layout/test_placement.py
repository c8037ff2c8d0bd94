"""Pieces as boxes of tensors: the cut of a range of flat positions into slabs, against NumPy's indexing."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dbmpi.layout.placement import slabs

SHAPES = st.lists(st.integers(1, 5), max_size=4).map(tuple)


@given(SHAPES, st.data())
def test_slabs_are_a_range_of_flat_positions_in_few_boxes(shape, data):
    size = int(np.prod(shape, dtype=int))
    positions = np.arange(size).reshape(shape)
    first = data.draw(st.integers(0, size))
    last = data.draw(st.integers(first, size))
    found = list(slabs(shape, first, last))
    assert [i for box in found for i in positions[tuple(slice(*edges) for edges in box)].flat] == list(
        range(first, last)
    )
    assert all(all(start < stop for start, stop in box) for box in found)
    assert len(found) <= max(1, 2 * len(shape) - 1)
