"""Rows that lie in other files: every one is read from where it lies, or the file is named; never zeros."""

import os
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

ROWS, CLASSES = 24, 3
RNG = np.random.default_rng(3)
X = RNG.integers(1, 256, (ROWS, 6), dtype=np.uint8)  # no 0, which HDF5 fills in
Y = np.arange(ROWS) % CLASSES
UNLIMITED = h5py.h5s.UNLIMITED


def write(path, x=X, y=Y, **layout):
    """Write a data file; returns its path."""
    with h5py.File(path, "w") as file:
        for name in ("train", "test"):
            file.create_dataset(f"{name}/x", data=x, **layout)
            file[f"{name}/y"] = y
    return path


def mapped(path, *parts, shape=X.shape, **more):
    """Let train/x of a new data file take rows from others: (where in it, file, data set, where there)."""
    layout = h5py.VirtualLayout(shape, np.uint8, **more)
    for ours, name, dset, theirs, theirs_shape in parts:
        layout[ours] = h5py.VirtualSource(name, dset, theirs_shape, **more)[theirs]
    with h5py.File(write(path, X[: shape[0]], Y[: shape[0]]), "r+") as file:
        del file["train/x"]
        file["train"].create_virtual_dataset("x", layout)
    return path


def virtual(tmp_path):
    """Two halves in files of their own."""
    for name, half in (("a", X[:12]), ("b", X[12:])):
        write(tmp_path / f"{name}.h5", half, Y[:12])
    halves = (
        (np.s_[i : i + 12], name, "train/x", np.s_[:], (12, 6)) for i, name in ((0, "a.h5"), (12, "b.h5"))
    )
    return mapped(tmp_path / "set.h5", *halves), tmp_path / "b.h5"


def nested(tmp_path):
    """A virtual data set above two others."""
    virtual(tmp_path)
    (tmp_path / "set.h5").rename(tmp_path / "inner.h5")
    return mapped(
        tmp_path / "set.h5", (np.s_[:], "inner.h5", "train/x", np.s_[:], X.shape)
    ), tmp_path / "b.h5"


def external(tmp_path):
    """Two halves in raw files."""
    raw = tmp_path / "a.raw", tmp_path / "b.raw"
    for path, half in zip(raw, (X[:12], X[12:]), strict=True):
        path.write_bytes(b"head" + half.tobytes())
    with h5py.File(write(tmp_path / "set.h5"), "r+") as file:
        del file["train/x"]
        places = [(str(path), 4, X.nbytes // 2) for path in raw]
        file["train"].create_dataset("x", X.shape, X.dtype, external=places)
    return tmp_path / "set.h5", raw[1]


def linked(tmp_path, **layout):
    """A master file of links, one of which leads through another file."""
    write(tmp_path / "far.h5", **layout)
    with h5py.File(tmp_path / "near.h5", "w") as file:
        file["x"], file["y"] = (h5py.ExternalLink("far.h5", f"/train/{key}") for key in "xy")
    with h5py.File(tmp_path / "set.h5", "w") as file:
        file["there"] = h5py.ExternalLink("near.h5", "/")
        file["train"], file["test"] = h5py.SoftLink("/there"), h5py.ExternalLink("far.h5", "/test")
    return tmp_path / "set.h5", tmp_path / "far.h5"


def linked_chunks(tmp_path):
    """As `linked`, with the rows in chunks."""
    return linked(tmp_path, chunks=(5, 6))


KINDS = virtual, nested, external, linked, linked_chunks


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def far(request, tmp_path):
    """A data file, and another in which the rows from 12 on lie."""
    return request.param(tmp_path)


def test_all_rows_are_read(far):
    path, _ = far
    found = describe(path, stand_in=False)
    assert (found.train_rows, found.inputs, found.classes) == (ROWS, 6, CLASSES)
    with Split(path, "train", (1, 5)) as split:
        split.check_complete(stand_in=False)
        assert np.array_equal(
            split.read([(20, 24), (3, 15), (7, 7)]), X[[*range(20, 24), *range(3, 15)], 1:5]
        )


def cut(path):
    os.truncate(path, path.stat().st_size - 30)


def write_over(path):
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 10**9))  # clocks of file systems are coarse


def replace(path):
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    os.utime(other, ns=(0, path.stat().st_mtime_ns))
    other.replace(path)


def replace_by_directory(path):
    path.unlink()
    path.mkdir()


TOUCHED = {
    os.unlink: "was removed after it was opened",
    cut: "shrank from",
    write_over: "was changed after it was opened",
    replace: "was replaced after it was opened",
    replace_by_directory: "was replaced after it was opened",
}


@pytest.mark.parametrize("touch", TOUCHED, ids=lambda touch: touch.__name__)
def test_a_file_that_is_touched_between_the_check_and_a_read_is_named(far, touch):
    """HDF5 gives zeros for most of these."""
    path, source = far
    describe(path, stand_in=False)
    with Split(path, "train") as split:
        touch(source)
        with pytest.raises(UserError, match=f"{path}: train/x .*{source.name}.*{TOUCHED[touch]}"):
            split.read([(10, 14)])


def test_a_file_that_is_touched_between_two_reads_is_named(far):
    path, source = far
    with Split(path, "train") as split:
        split.read([(0, ROWS)])
        os.unlink(source)
        with pytest.raises(UserError, match=source.name):
            split.read([(0, ROWS)])


@pytest.mark.parametrize("touch", [os.unlink, cut, replace_by_directory], ids=lambda touch: touch.__name__)
def test_a_file_that_is_gone_before_the_check_is_named(far, touch):
    path, source = far
    touch(source)
    with pytest.raises(UserError, match=f"{path}: .*{source.name}|{path}: .*near.h5"):
        with Split(path, "train") as split:
            split.check_complete(stand_in=False)


def test_no_descriptor_is_left_open(far):
    path, _ = far
    before = sorted(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with Split(path, "train") as split:
            split.read([(0, 3)])
        assert sorted(os.listdir("/proc/self/fd")) == before


def test_missing_file_of_a_link(tmp_path):
    path, source = linked(tmp_path)
    with h5py.File(path, "r+") as file:
        del file["train"]
        file["train"] = h5py.ExternalLink("far.h5", "/train")
    source.unlink()
    with pytest.raises(
        UserError, match=r"set.h5: train is a link into far.h5, which is missing; put it beside .*set.h5"
    ):
        describe(path)


def test_many_sources_share_the_memory_for_chunks(tmp_path):
    for i in range(ROWS):
        write(tmp_path / f"{i}.h5", X[i : i + 1], Y[:1], chunks=(1, 6))
    parts = [(np.s_[i], f"{i}.h5", "train/x", np.s_[0], (1, 6)) for i in range(ROWS)]
    with Split(mapped(tmp_path / "set.h5", *parts), "train") as split:
        assert np.array_equal(split.read([(0, ROWS)]), X)
        caches = [one.id.get_access_plist().get_cache()[2] for one in [*split._sources._files.values()][1:]]
        assert len(caches) == ROWS and set(caches) == {1 << 20}


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
