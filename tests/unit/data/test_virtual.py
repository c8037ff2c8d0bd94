"""Virtual data sets are read from their sources as HDF5 reads them, but for what no source gives."""

from contextlib import ExitStack

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dbmpi.data.describe import describe
from dbmpi.data.hdf5 import opened
from dbmpi.data.sources import Sources
from dbmpi.data.split import Split
from dbmpi.errors import UserError
from tests.unit.data.elsewhere import RNG, X, Y, mapped, virtual, write

UNLIMITED = h5py.h5s.UNLIMITED


def picked(rows, least=1):
    """Draw rows of a data set, at least so many: a stretch, a stride, or a list, as coordinates."""
    edges = st.tuples(st.integers(0, rows - least), st.integers(least, rows), st.integers(1, 3))
    regular = edges.map(lambda t: np.arange(rows)[t[0] : t[0] + t[1] * t[2] : t[2]])
    lists = st.sets(st.integers(0, rows - 1), min_size=least).map(lambda chosen: np.array(sorted(chosen)))
    return st.one_of(regular, lists).filter(lambda chosen: len(chosen) >= least)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_mappings_are_followed_as_by_hdf5(tmp_path_factory, data):
    """Any rows from anywhere, of another shape or level: what HDF5 reads while all is there."""
    directory, draw = tmp_path_factory.mktemp("maps"), data.draw
    path, shape = directory / "set.h5", draw(st.sampled_from([(6,), (3, 2), (3, 1, 2)]))
    layout, outer = (h5py.VirtualLayout((10, *shape), np.uint8) for _ in range(2))
    for number in range(draw(st.integers(1, 3))):
        ours = draw(picked(10)) if number else np.arange(10)
        theirs = draw(picked(25, len(ours)))[: len(ours)]
        values = RNG.integers(1, 256, (25, *draw(st.sampled_from([shape, (6,), (6, 1), (1, 6)]))), np.uint8)
        with h5py.File(directory / f"{number}.h5", "w") as file:
            file.create_dataset("v", data=values, chunks=draw(st.sampled_from([None, True])))
        layout[ours] = h5py.VirtualSource(f"{number}.h5", "v", values.shape)[theirs]
    outer[:] = h5py.VirtualSource(".", "inner", (10, *shape))
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("inner", layout)
        file.create_virtual_dataset("outer", outer)
    with ExitStack() as files:
        stored = files.enter_context(opened(path))[draw(st.sampled_from(["inner", "outer"]))]
        rows = Sources(path, stored.file, files).rows(stored, str(path))
        for _ in range(3):
            box = tuple(tuple(sorted(draw(st.tuples(*[st.integers(0, n)] * 2)))) for n in (10, *shape))
            out = np.zeros([stop - start for start, stop in box], draw(st.sampled_from(["u1", "f4", "i8"])))
            rows.read(out, box)
            assert np.array_equal(out, stored[tuple(slice(*edges) for edges in box)])


def resize(path, rows):
    with h5py.File(path, "r+") as file:
        file["train/x"].resize(rows, 0)


def test_a_mapping_without_limit_ends_with_its_source(tmp_path):
    write(tmp_path / "source.h5", X[:20], Y[:20], chunks=(4, 6), maxshape=(None, 6))
    layout = h5py.VirtualLayout((20, 6), np.uint8, maxshape=(None, 6))
    source = h5py.VirtualSource("source.h5", "train/x", (20, 6), maxshape=(None, 6))
    layout[0:UNLIMITED] = source[0:UNLIMITED]
    with h5py.File(write(tmp_path / "set.h5", X[:20], Y[:20]), "r+") as file:
        del file["train/x"]
        file["train"].create_virtual_dataset("x", layout)
    with Split(tmp_path / "set.h5", "train") as split:
        assert np.array_equal(split.read([(0, 20)]), X[:20])
    resize(tmp_path / "source.h5", 16)
    with pytest.raises(UserError, match="train/y has 20 rows but x beside it has 16"):
        Split(tmp_path / "set.h5", "train")
    (tmp_path / "source.h5").unlink()
    with pytest.raises(UserError, match="takes rows from source.h5, which is missing"):
        Split(tmp_path / "set.h5", "train")


def test_a_source_that_gives_nothing_any_more(tmp_path):
    """One that was emptied, of which a mapping without limit takes all."""
    write(tmp_path / "some.h5", X[:4], Y[:4])
    write(tmp_path / "none.h5", X[:2], Y[:2], maxshape=(None, 6))
    layout = h5py.VirtualLayout((6, 6), np.uint8, maxshape=(None, 6))
    layout[:4] = h5py.VirtualSource("some.h5", "train/x", (4, 6))
    layout[4:UNLIMITED] = h5py.VirtualSource("none.h5", "train/x", (2, 6), maxshape=(None, 6))[0:UNLIMITED]
    with h5py.File(write(tmp_path / "set.h5", X[:4], Y[:4]), "r+") as file:
        del file["train/x"]
        file["train"].create_virtual_dataset("x", layout)
    resize(tmp_path / "none.h5", 0)
    with Split(tmp_path / "set.h5", "train") as split:
        assert np.array_equal(split.read([(0, 4)]), X[:4])


def low_level(path, name, pattern, block):
    """Let train/x take blocks from a source name that only HDF5's own calls can give."""
    create, space = h5py.h5p.create(h5py.h5p.DATASET_CREATE), h5py.h5s.create_simple((4, 6), (UNLIMITED, 6))
    space.select_hyperslab((0, 0), (UNLIMITED if block else 1, 1), stride=(4, 1), block=(4, 6))
    create.set_virtual(space, pattern, b"train/x", h5py.h5s.create_simple((4, 6)))
    with h5py.File(write(path, X[:4], Y[:4]), "r+") as file:
        del file["train/x"]
        extent = h5py.h5s.create_simple((4, 6), (UNLIMITED, 6))
        h5py.h5d.create(file["train"].id, b"x", h5py.h5t.NATIVE_UINT8, extent, create)
    write(path.with_name(name), X[:4], Y[:4])


def test_names_that_stand_for_any_number_of_files_are_refused(tmp_path):
    """HDF5 ends with the last block that it can open, so that no file is known to be missing."""
    low_level(tmp_path / "set.h5", "0.h5", b"%b.h5", True)
    with pytest.raises(
        UserError, match=r"takes rows from %b\.h5, as many as there are: .* map each by its name"
    ):
        Split(tmp_path / "set.h5", "train")


def test_two_percent_signs_are_one(tmp_path):
    low_level(tmp_path / "set.h5", "5%b.h5", b"5%%b.h5", False)
    with Split(tmp_path / "set.h5", "train") as split:
        assert np.array_equal(split.read([(0, 4)]), X[:4])


def test_rows_that_no_source_gives_are_found_as_they_are_read(tmp_path):
    """As many values as the data set has, but some of them twice."""
    write(tmp_path / "a.h5")
    parts = [(np.s_[:12], "a.h5", "train/x", np.s_[:12], X.shape)] * 2
    with Split(mapped(tmp_path / "set.h5", *parts), "train") as split:
        assert np.array_equal(split.read([(0, 12)]), X[:12])
        with pytest.raises(
            UserError, match="train/x cannot be read: no source gives all values of rows 10 to 13"
        ):
            split.read([(10, 14)])


@pytest.mark.parametrize("key", ["scale", "offset"])
def test_a_scale_of_the_sources_alone_is_not_passed_over(tmp_path, key):
    path, source = virtual(tmp_path)
    with h5py.File(source, "r+") as file:
        file["train/x"].attrs[key] = 0.5
    with pytest.raises(
        UserError, match=f"train/x is virtual and has no attribute {key}, but a source of it has"
    ):
        Split(path, "train")
    with h5py.File(path, "r+") as file:
        file["train/x"].attrs[key] = 0.25
    with Split(path, "train") as split:
        assert getattr(split, key) == 0.25


def test_rows_of_a_source_that_were_never_written(tmp_path):
    path, source = virtual(tmp_path)
    with h5py.File(source, "r+") as file:
        del file["train/x"]
        file["train"].create_dataset("x", (12, 6), "u1", chunks=(2, 6))[:4] = 1
    for stand_in in (False, True):
        with pytest.raises(
            UserError, match=r"\(rows in .*b.h5: train/x\) has shape .* of its 6 chunks 2 were"
        ):
            describe(path, stand_in)
