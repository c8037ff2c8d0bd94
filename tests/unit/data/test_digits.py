"""The embedded data set is what its documentation says."""

import h5py
import numpy as np

from dbmpi.data import digits
from dbmpi.data.describe import describe


def test_file_is_small_and_names_its_source_and_licence():
    assert digits.path().stat().st_size < 200_000
    with h5py.File(digits.path(), "r", locking=False) as file:
        assert "Alpaydin" in file.attrs["source"] and "UCI" in file.attrs["source"]
        assert "CC BY 4.0" in file.attrs["licence"]


def test_description():
    found = describe("digits")
    assert (found.train_rows, found.test_rows, found.input_shape) == (1437, 360, (8, 8))
    assert (found.inputs, found.classes, found.targets) == (64, 10, None)
    assert (found.dtype, found.scale, found.offset) == ("uint8", 1 / 16, 0.0)


def test_split_is_stratified_and_disjoint():
    with h5py.File(digits.path(), "r", locking=False) as file:
        x = {name: file[name]["x"][:].reshape(-1, 64) for name in file}
        y = {name: file[name]["y"][:] for name in file}
    assert np.bincount(y["test"]).tolist() == [36] * 10
    assert np.bincount(y["train"]).tolist() == [142, 146, 141, 147, 145, 146, 145, 143, 138, 144]
    assert x["train"].max() == x["test"].max() == 16
    assert len(np.unique(np.concatenate([x["train"], x["test"]]), axis=0)) == 1797


def test_rows_are_in_random_order():
    """A part of consecutive rows must hold all digits."""
    with h5py.File(digits.path(), "r", locking=False) as file:
        y = file["train/y"][:]
    assert all(len(np.unique(y[start : start + 90])) == 10 for start in range(0, 1400, 90))


def test_a_plain_classifier_learns_it():
    """One prototype for each class: images and labels belong together, in both splits."""
    with h5py.File(digits.path(), "r", locking=False) as file:
        x, y = file["train/x"][:].reshape(-1, 64).astype(float), file["train/y"][:]
        x_test, y_test = file["test/x"][:].reshape(-1, 64).astype(float), file["test/y"][:]
    means = np.array([x[y == digit].mean(axis=0) for digit in range(10)])
    nearest = ((x_test[:, None] - means) ** 2).sum(axis=2).argmin(axis=1)
    assert (nearest == y_test).mean() > 0.85


def test_holds_all_that_the_source_publishes():
    """Examples of each digit as listed by UCI; the sum of all values as in an independent copy."""
    with h5py.File(digits.path(), "r", locking=False) as file:
        x = np.concatenate([file[name]["x"][:] for name in ("train", "test")])
        y = np.concatenate([file[name]["y"][:] for name in ("train", "test")])
    assert np.bincount(y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert x.sum(dtype=int) == 561718


def test_only_the_bare_name_means_the_embedded_set(tmp_path):
    assert digits.located("digits") == digits.path()
    assert digits.located("./digits") != digits.path()
    assert digits.located(str(tmp_path / "digits")) == tmp_path / "digits"
    assert digits.located("~/x.h5").is_absolute()
