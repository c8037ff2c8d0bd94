"""Rows that lie in other files: every one is read from where it lies, or the file is named; never zeros."""

import fcntl
import itertools
import os
import resource
from contextlib import ExitStack

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dbmpi.data.describe import check_whole, describe
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


def loop(path):
    """Let it be there, but so that nobody can open it, not even root."""
    path.unlink()
    path.symlink_to(path.name)


def replace_by_directory(path):
    path.unlink()
    path.mkdir()


TOUCHED = {
    os.unlink: "was removed after it was opened",
    cut: "shrank from",
    write_over: "was changed after it was opened",
    replace: "was replaced after it was opened",
    loop: "Too many levels of symbolic links",
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


@pytest.mark.parametrize(
    "touch", [os.unlink, cut, loop, replace_by_directory], ids=lambda touch: touch.__name__
)
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


def grow(path, rows):
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
    grow(tmp_path / "source.h5", 16)
    with pytest.raises(UserError, match="train/y has 20 rows but x beside it has 16"):
        Split(tmp_path / "set.h5", "train")
    (tmp_path / "source.h5").unlink()
    with pytest.raises(UserError, match="takes rows from source.h5, which is missing"):
        Split(tmp_path / "set.h5", "train")


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
        with pytest.raises(UserError, match="train/x cannot be read: of rows 10 to 13 no source gives all"):
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


def test_links_in_a_circle(tmp_path):
    for name, other in (("a.h5", "b.h5"), ("b.h5", "a.h5")):
        with h5py.File(tmp_path / name, "w") as file:
            file["train"] = h5py.ExternalLink(other, "/train")
    with pytest.raises(UserError, match="a.h5: train: links lead in a circle"):
        Split(tmp_path / "a.h5", "train")


@pytest.mark.parametrize("layout", [{}, {"chunks": (5, 6)}])
def test_a_file_with_a_user_block(tmp_path, layout):
    with h5py.File(tmp_path / "set.h5", "w", userblock_size=4096) as file:
        for name in ("train", "test"):
            file.create_dataset(f"{name}/x", data=X, **layout)
            file[f"{name}/y"] = Y
    assert describe(tmp_path / "set.h5", stand_in=False).train_rows == ROWS


def test_sources_that_somebody_has_locked_are_read(far):
    path, source = far
    with source.open("r+b") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with Split(path, "train") as split:
            assert np.array_equal(split.read([(0, ROWS)]), X)


def test_too_many_files_for_the_system(tmp_path):
    path, _ = virtual(tmp_path)
    lowest, limits = os.open(path, os.O_RDONLY), resource.getrlimit(resource.RLIMIT_NOFILE)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + 2, limits[1]))
    try:
        with pytest.raises(
            UserError, match=r"train/x is virtual and takes rows from .*[ab]\.h5.* Too many open"
        ):
            Split(path, "train")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.parametrize("change", ["rows", "scale", "shape"])
def test_another_file_than_the_one_described(tmp_path, change):
    """As on a host that has its own copy."""
    found = describe(write(tmp_path / "set.h5"))
    with Split(tmp_path / "set.h5", "test") as split:
        check_whole(split, found)
    other = {"rows": (X[:20], Y[:20]), "shape": (X[:, :5], Y)}.get(change, (X, Y))
    with h5py.File(write(tmp_path / "set.h5", *other), "r+") as file:
        if change == "scale":
            file["test/x"].attrs["scale"] = 0.5
    with (
        Split(tmp_path / "set.h5", "test") as split,
        pytest.raises(UserError, match=f"test has .*{change} .* here"),
    ):
        check_whole(split, found)


def test_each_rank_looks_for_rows_that_were_never_written(tmp_path):
    found = describe(write(tmp_path / "set.h5", chunks=(4, 6)))
    with h5py.File(tmp_path / "set.h5", "r+") as file:
        del file["train/x"]
        file["train"].create_dataset("x", X.shape, "u1", chunks=(4, 6))[:4] = 1
    with (
        Split(tmp_path / "set.h5", "train") as split,
        pytest.raises(UserError, match="of its 6 chunks 1 were"),
    ):
        check_whole(split, found)


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
