"""Files that a data file names are looked for where HDF5 does, and never past one that is there."""

import itertools
import os

import h5py
import numpy as np
import pytest

from dbmpi.data.split import Split
from dbmpi.errors import UserError
from tests.unit.data.elsewhere import ROWS, X, mapped, write


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """The directory of a data file, one of its sources, and the working directory."""
    for name in ("data", "sources", "work"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


PLACES = ["beside", "work", "absolute", "moved", "prefix", "linked"]


@pytest.mark.parametrize(
    ("kind", "place"), [*itertools.product(["virtual", "external link"], PLACES), ("virtual", "origin")]
)
def test_files_lie_where_hdf5_looks_for_them(elsewhere, monkeypatch, kind, place):
    name, at = "source.h5", elsewhere / "sources/source.h5"
    variable = "HDF5_VDS_PREFIX" if kind == "virtual" else "HDF5_EXT_PREFIX"
    path = elsewhere / "data/set.h5"
    if place == "absolute":
        name = str(at)
    elif place == "moved":  # away from its absolute name, to the side of the data file
        name, at = str(at), elsewhere / "data/source.h5"
    elif place == "prefix":
        monkeypatch.setenv(variable, f"/nowhere{os.pathsep}{elsewhere}/sources")
    elif place == "origin":  # which HDF5 itself reads once, as it is loaded
        monkeypatch.setenv("HDF5_VDS_PREFIX", "${ORIGIN}/../sources")
    else:
        at = {"beside": path, "linked": path, "work": elsewhere / "work/x"}[place].with_name(name)
    write(at)
    if kind == "virtual":
        mapped(path, (np.s_[:], name, "train/x", np.s_[:], X.shape))
    else:
        with h5py.File(path, "w") as file:
            file["train"], file["test"] = (h5py.ExternalLink(name, f"/{one}") for one in ("train", "test"))
    if place == "linked":  # the data file is reached by a symbolic link in another directory
        path = elsewhere / "work/other.h5"
        path.symlink_to(elsewhere / "data/set.h5")
    with Split(path, "train") as split:
        assert np.array_equal(split.read([(0, ROWS)]), X)
    with h5py.File(path) as file:
        assert place == "origin" or np.array_equal(file["train/x"], X)


@pytest.mark.parametrize("kind", ["virtual", "external link"])
def test_a_file_out_of_reach_is_never_replaced_by_another_of_its_name(elsewhere, kind):
    """HDF5 goes on to the working directory."""
    path, source = elsewhere / "data/set.h5", elsewhere / "data/source.h5"
    write(elsewhere / "work/source.h5", X[::-1])
    source.symlink_to("source.h5")
    if kind == "virtual":
        mapped(path, (np.s_[:], "source.h5", "train/x", np.s_[:], X.shape))
    else:
        with h5py.File(path, "w") as file:
            file["train"] = h5py.ExternalLink("source.h5", "/train")
    with h5py.File(path) as file:
        assert np.array_equal(file["train/x"], X[::-1])
    with pytest.raises(
        UserError, match="set.h5: train.* Too many levels of symbolic links: .*data/source.h5"
    ):
        Split(path, "train")


def test_raw_files_lie_where_hdf5_looks_for_them(elsewhere, monkeypatch):
    (elsewhere / "sources/rows.raw").write_bytes(X.tobytes())
    with h5py.File(write(elsewhere / "data/set.h5"), "r+") as file:
        del file["train/x"]
        file["train"].create_dataset("x", X.shape, X.dtype, external=[("rows.raw", 0, h5py.h5f.UNLIMITED)])
    with pytest.raises(UserError, match=r"\(rows in rows.raw\): there is no such raw file"):
        Split(elsewhere / "data/set.h5", "train")
    for prefix in (str(elsewhere / "sources"), "${ORIGIN}/../sources"):
        monkeypatch.setenv("HDF5_EXTFILE_PREFIX", prefix)
        with Split(elsewhere / "data/set.h5", "train") as split:
            assert np.array_equal(split.read([(2, 9)]), X[2:9])
