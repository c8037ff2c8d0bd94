"""Rows that lie in other files are read, or the file is named that cannot be; never zeros."""

import errno
import fcntl
import os
import resource

import h5py
import numpy as np
import pytest

from dbmpi.data.describe import describe
from dbmpi.data.split import Split
from dbmpi.errors import UserError
from tests.unit.data.elsewhere import CLASSES, KINDS, ROWS, X, Y, linked, mapped, virtual, write


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


def test_a_file_that_cannot_be_looked_at_is_named(tmp_path, monkeypatch):
    path = write(tmp_path / "data.h5")

    def fail(*file, by_name):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("dbmpi.data.sources.Watch", fail)
    with pytest.raises(UserError, match=r"data.h5.*Input/output error"):
        describe(path)


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


def test_sources_that_somebody_has_locked_are_read(far):
    path, source = far
    with source.open("r+b") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with Split(path, "train") as split:
            assert np.array_equal(split.read([(0, ROWS)]), X)


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


def test_links_in_a_circle(tmp_path):
    for name, other in (("a.h5", "b.h5"), ("b.h5", "a.h5")):
        with h5py.File(tmp_path / name, "w") as file:
            file["train"] = h5py.ExternalLink(other, "/train")
    with pytest.raises(UserError, match="a.h5: train: links lead in a circle"):
        Split(tmp_path / "a.h5", "train")


def test_too_many_files_for_the_system(tmp_path):
    path, _ = virtual(tmp_path)
    lowest, limits = os.open(path, os.O_RDONLY), resource.getrlimit(resource.RLIMIT_NOFILE)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + 2, limits[1]))
    try:
        with pytest.raises(
            UserError, match=r"train/x is virtual and takes rows from .*[ab]\.h5.* Too many open.*ulimit -n"
        ):
            Split(path, "train")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_many_sources_share_the_memory_for_chunks(tmp_path):
    for i in range(ROWS):
        write(tmp_path / f"{i}.h5", X[i : i + 1], Y[:1], chunks=(1, 6))
    parts = [(np.s_[i], f"{i}.h5", "train/x", np.s_[0], (1, 6)) for i in range(ROWS)]
    with Split(mapped(tmp_path / "set.h5", *parts), "train") as split:
        assert np.array_equal(split.read([(0, ROWS)]), X)
        caches = [one.id.get_access_plist().get_cache()[2] for one in [*split._sources._files.values()][1:]]
        assert len(caches) == ROWS and set(caches) == {1 << 20}
