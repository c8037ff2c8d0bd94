"""Rows that are a split's: read as one data set, wherever their stretches begin and end."""

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbmpi.data.fields import View
from dbmpi.data.split import Split
from dbmpi.data.stretches import Stretches
from dbmpi.errors import UserError


@given(
    chosen=st.lists(st.booleans(), min_size=1, max_size=40), ends=st.tuples(st.integers(0), st.integers(0))
)
def test_places_are_those_of_the_mask(chosen, ends):
    rows = Stretches.of_mask(np.array(chosen))
    start, stop = sorted(end % (rows.rows + 1) for end in ends)
    found = [row for lo, hi in rows.places(start, stop) for row in range(lo, hi)]
    assert found == np.flatnonzero(chosen)[start:stop].tolist()
    assert rows.rows == sum(chosen) and rows.of == len(chosen)


@pytest.mark.parametrize("every", [2, 3, 20])
def test_a_split_reads_its_own_rows_and_messages_name_those_of_the_file(tmp_path, every):
    x, chosen = np.arange(240.0).reshape(80, 3), np.arange(80) % every == 1
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"], file["y"] = x, np.arange(80)
    view = View("x", "y", rows=Stretches.of_mask(chosen))
    with Split(tmp_path / "a.h5", "test", view=view) as split:
        ranges = [(1, split.rows), (0, 1)]
        order = np.flatnonzero(chosen)[[*range(1, split.rows), 0]]
        assert np.array_equal(split.read(ranges), x[order])
        assert split.labels(ranges).tolist() == order.tolist()
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["x"][every + 1, 2] = np.nan
    with Split(tmp_path / "a.h5", "test", view=view) as split:
        with pytest.raises(UserError, match=rf"a.h5: x holds nan in row {every + 1}, column 2"):
            split.read([(0, 3)])
