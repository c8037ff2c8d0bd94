"""Rows in raw files are read as HDF5 reads them, of any type."""

import h5py
import numpy as np
import pytest

from dbmpi.data.split import Split
from tests.unit.data.elsewhere import RNG, Y, write


@pytest.mark.parametrize("dtype", ["u1", "<f4", ">f4", "f2", ">f8"])
def test_raw_files_of_any_type_and_window(tmp_path, dtype):
    images = RNG.integers(1, 99, (9, 4, 5)).astype(dtype)
    (tmp_path / "rows.raw").write_bytes(images.tobytes())
    with h5py.File(write(tmp_path / "set.h5", images, Y[:9]), "r+") as file:
        del file["train/x"]
        place = [(str(tmp_path / "rows.raw"), 0, images.nbytes)]
        file["train"].create_dataset("x", images.shape, images.dtype, external=place)
    with Split(tmp_path / "set.h5", "train", window=((1, 3), (2, 5), (0, 1))) as split:
        assert np.array_equal(split.read([(7, 9), (0, 4)])[..., 0], images[[7, 8, 0, 1, 2, 3], 1:3, 2:5])
