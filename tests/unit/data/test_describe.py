"""Data files: what they hold is read right, and whatever is wrong is named, with its place and a remedy."""

import dataclasses
import fcntl
import os

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbmpi.data.describe import check_whole, describe
from dbmpi.data.fields import plain
from dbmpi.data.fits import check_fits
from dbmpi.data.split import Split, _window
from dbmpi.errors import UserError
from tests import ROOT

RNG = np.random.default_rng(7)


def write(path, x=None, y=None, x_test=None, y_test=None, attributes=(), **layout):
    """Write a data file; returns its path."""
    x = RNG.integers(0, 256, (40, 6, 5, 2), dtype=np.uint8) if x is None else x
    y = np.arange(len(x)) % 4 if y is None else y
    with h5py.File(path, "w") as file:
        for name, (inputs, labels) in {
            "train": (x, y),
            "test": (x[:9] if x_test is None else x_test, y[:9] if y_test is None else y_test),
        }.items():
            stored = file.create_dataset(f"{name}/x", data=inputs, **layout)
            stored.attrs.update(attributes)
            file[f"{name}/y"] = labels
    return path


@pytest.fixture
def path(tmp_path):
    return tmp_path / "set.h5"


def test_a_file_that_the_system_cannot_close_is_one_message(path, monkeypatch):
    def broken(*ignored: object) -> None:
        raise RuntimeError("Can't decrement id ref count (unable to close file, errno = 5)")

    write(path)
    monkeypatch.setattr(h5py.File, "__exit__", broken)
    split = Split(path, "train")
    with pytest.raises(UserError, match=r"set.h5: train, as the file is closed, cannot be read: .*errno = 5"):
        split.close()


@pytest.mark.parametrize("shape", [(40, 30), (40, 6, 5), (40, 6, 5, 2)])
@pytest.mark.parametrize("kind", ["u1", "<f4", ">f4", "<f8", ">f8", "f2"])
@pytest.mark.parametrize("layout", [{}, {"chunks": True}, {"chunks": True, "compression": "gzip"}])
def test_reads_ranges_of_rows_and_columns(path, shape, kind, layout):
    x = RNG.integers(0, 99, shape).astype(kind)
    write(path, x, **layout)
    inputs = int(np.prod(shape[1:]))
    ranges = [(30, 40), (0, 3), (7, 8)]
    expected = np.concatenate([x[a:b] for a, b in ranges]).reshape(14, inputs)
    for columns in (None, (0, inputs), (3, 4), (4, 21), (inputs - 7, inputs), (5, 5)):
        with Split(path, "train", columns) as split:
            read = split.read(ranges)
        first, last = columns or (0, inputs)
        assert read.dtype == {"u1": "u1", "f2": "f4"}.get(kind, kind.strip("<>")) and read.dtype.isnative
        assert read.flags.c_contiguous
        assert np.array_equal(read, expected[:, first:last])


@given(
    shape=st.lists(st.integers(1, 6), min_size=1, max_size=3),
    ends=st.tuples(st.integers(0, 216), st.integers(0, 216)),
)
def test_window_is_the_columns_and_little_more(shape, ends):
    total = int(np.prod(shape))
    start, stop = sorted(end % (total + 1) for end in ends)
    box, cut = _window(tuple(shape), start, stop)
    inside = np.arange(total).reshape(shape)[tuple(slice(*edges) for edges in box)].ravel()
    assert inside[cut].tolist() == list(range(start, stop))
    assert start == stop or len(inside) < stop - start + 2 * total // shape[0]


WINDOWS = [
    ((0, 6), (0, 5), (0, 2)),
    ((2, 5), (1, 5), (0, 2)),
    ((5, 6), (0, 1), (1, 2)),
    ((1, 3), (2, 2), (0, 2)),
]


@pytest.mark.parametrize("kind", ["u1", ">f4", "f2"])
@pytest.mark.parametrize("layout", [{}, {"chunks": True, "compression": "gzip"}])
@pytest.mark.parametrize("window", WINDOWS)
def test_reads_a_window_of_an_image(path, kind, layout, window):
    x = RNG.integers(0, 99, (40, 6, 5, 2)).astype(kind)
    ranges = [(30, 40), (0, 3), (7, 8), (9, 9)]
    with Split(write(path, x, **layout), "train", window=window) as split:
        read, image = split.read(ranges), split.image
    cut = x[(slice(None), *(slice(*edges) for edges in window))]
    assert image == (6, 5, 2) and read.flags.c_contiguous and read.dtype.isnative
    assert np.array_equal(read, np.concatenate([cut[a:b] for a, b in ranges]))


def test_an_image_without_channels_has_one(path):
    x = RNG.integers(0, 99, (40, 6, 5)).astype("u1")
    with Split(write(path, x), "train", window=((1, 4), (2, 5), (0, 1))) as split:
        assert split.image == (6, 5, 1) and split.input_shape == (6, 5)
        assert np.array_equal(split.read([(3, 9)]), x[3:9, 1:4, 2:5, None])
    with Split(path, "train", window=((1, 4), (2, 5), (0, 0))) as split:
        assert split.read([(3, 9)]).shape == (6, 3, 3, 0)


def test_features_are_no_image_but_have_windows(path):
    x = RNG.normal(size=(40, 30)).astype("f4")
    with Split(write(path, x), "train", window=((4, 11),)) as split:
        assert split.image is None
        assert np.array_equal(split.read([(3, 9)]), x[3:9, 4:11])


def test_labels_and_targets(path):
    labels = np.array([3, 0, 1, 2] * 10, dtype=">i2")
    with Split(write(path, y=labels), "train") as split:
        found = split.labels([(38, 40), (0, 2)])
        assert found.dtype == np.int64 and found.tolist() == [1, 2, 3, 0]
        assert split.labels_or_targets([(0, 1)]).tolist() == [3]
        with pytest.raises(ValueError):
            split.targets([(0, 1)])
    targets = RNG.normal(size=(40, 3)).astype("f4")
    with Split(write(path, y=targets), "train") as split:
        assert np.array_equal(split.targets([(5, 9), (0, 1)]), targets[[5, 6, 7, 8, 0]])
        assert split.labels_or_targets([(0, 1)]).shape == (1, 3)
        with pytest.raises(ValueError):
            split.labels([(0, 1)])
    with Split(write(path, y=targets[:, 0].astype("f8")), "train") as split:
        assert split.targets([(0, 4)]).shape == (4, 1) and split.targets([(0, 4)]).dtype == np.float64


@pytest.mark.parametrize(
    ("kind", "attributes", "scale", "offset"),
    [
        ("u1", {}, 1 / 255, 0.0),
        ("f4", {}, 1.0, 0.0),
        ("u1", {"scale": 0.5, "offset": -1}, 0.5, -1.0),
        ("u1", {"offset": np.float32(2)}, 1 / 255, 2.0),
        ("f8", {"scale": np.array([3])}, 3.0, 0.0),
    ],
)
def test_scale_and_offset(path, kind, attributes, scale, offset):
    found = describe(write(path, np.ones((4, 3), kind), attributes=attributes))
    assert (found.scale, found.offset) == (scale, offset)


def test_description(path):
    found = describe(write(path, chunks=(8, 6, 5, 2)))
    assert set(found.chance) == {"softmax", "logistic", "squared"}
    assert found.views == {name: plain(name) for name in ("train", "test")}
    assert dataclasses.asdict(found) | {"chance": {}, "views": {}} == {
        "path": str(path), "train_rows": 40, "test_rows": 9, "input_shape": (6, 5, 2), "inputs": 60,
        "classes": 4, "targets": None, "dtype": "uint8", "scale": 1 / 255, "offset": 0.0, "chunk_rows": 8,
        "class_names": None, "chance": {}, "distinct": 4, "smallest": 0, "warnings": (),
        "validation_rows": 0, "views": {}, "targets_from": "train/y and test/y", "test_fraction": 0.0,
        "scaling": None, "binary": False, "means": (), "variances": (), "unlearned": (), "unused": "",
        "few_values": (), "counts": (10, 10, 10, 10), "suiting": "none",
        "columns": (),
    }  # fmt: skip
    found = describe(write(path, y=RNG.normal(size=(40, 3))))
    assert (found.classes, found.targets, found.chunk_rows) == (None, 3, None)
    assert set(found.chance) == {"squared"}


def test_labels_of_the_test_split_count_too(path):
    assert describe(write(path, y_test=np.array([9] * 9))).classes == 10


def test_scan_is_bounded_and_complete(path, monkeypatch):
    monkeypatch.setattr("dbmpi.data.describe.SCAN_VALUES", 7)
    labels = np.zeros(40, int)
    labels[[38, 39]] = 11, -2
    with pytest.raises(UserError, match="label -2 in row 39"):
        describe(write(path, y=labels))
    labels[39] = 0
    found = describe(write(path, y=labels, y_test=np.full(9, 3)))
    assert found.classes == 12
    p = np.array([39, 1]) / 40  # of the training set alone
    assert found.chance["softmax"] == pytest.approx(-(p * np.log(p)).sum())


X = np.zeros((4, 3), np.uint8)
Y = np.zeros(4, int)
WRONG = {
    "one dimension": ({"x": X[:, 0]}, "train/x has shape (4,); reshape"),
    "five dimensions": ({"x": np.zeros((4, 1, 1, 1, 1), np.uint8)}, "train/x has shape (4, 1, 1, 1, 1)"),
    "scalar x": ({"x": np.uint8(1), "y": Y, "x_test": X}, "train/x has shape ()"),
    "integer x": ({"x": X.astype("i4")}, "train/x has type int32; store uint8"),
    "complex x": ({"x": X.astype("c8")}, "train/x has type complex64"),
    "text x": ({"x": X.astype("S3")}, "train/x has type |S3"),
    "no rows": ({"x": X[:0], "y": Y[:0]}, "train/x has shape (0, 3)"),
    "no columns": ({"x": X[:, :0]}, "train/x has shape (4, 0)"),
    "no test rows": ({"x": X, "y": Y, "x_test": X[:0], "y_test": Y[:0]}, "test/x has shape (0, 3)"),
    "fewer labels": ({"x": X, "y": Y[:3]}, "train/y has 3 rows but x beside it has 4"),
    "column of labels": ({"x": X, "y": Y[:, None]}, "train/y has shape (4, 1); it must be (N,)"),
    "cube of targets": ({"x": X, "y": np.zeros((4, 1, 1))}, "it must be (N,) or (N, targets)"),
    "text labels": ({"x": X, "y": np.array([b"a"] * 4)}, "train/y has type |S1; store labels as integers"),
    "boolean labels": ({"x": X, "y": Y.astype(bool)}, "train/y has type bool"),
    "negative label": ({"x": X, "y": np.array([0, 1, -1, 0], "i1")}, "train/y holds the label -1 in row 2"),
    "target nan": ({"x": X, "y": np.array([0, np.nan, 0, 0])}, "train/y holds nan in row 1, column 0"),
    "other test shape": (
        {"x": X, "y": Y, "x_test": X[:, :2]},
        "test/x: the shape of an example is (2,), but",
    ),
    "other test type": ({"x": X, "y": Y, "x_test": X.astype("f4")}, "test/x: the type is float32, but uint8"),
    "other test targets": (
        {"x": X, "y": Y, "y_test": np.zeros(4)},
        "test/y: the number of targets is 1",
    ),
    "text scale": ({"x": X, "attributes": {"scale": "big"}}, "the attribute scale = 'big'"),
    "zero scale": ({"x": X, "attributes": {"scale": 0.0}}, "scale = 0.0; it must be one finite number other"),
    "nan offset": ({"x": X, "attributes": {"offset": np.nan}}, "the attribute offset = nan"),
    "huge scale": ({"x": X, "attributes": {"scale": 1e300}}, "scale = 1e+300; it must be one finite number"),
    "tiny scale": ({"x": X, "attributes": {"scale": 1e-40}}, "scale = 1e-40; it must be one finite number"),
    "empty offset": ({"x": X, "attributes": {"offset": h5py.Empty("f4")}}, "the attribute offset"),
    "two scales": ({"x": X, "attributes": {"scale": [1.0, 2.0]}}, "scale = [1.0, 2.0]"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_content_is_named(path, case):
    content, message = WRONG[case]
    with pytest.raises(UserError) as caught:
        describe(write(path, **content))
    assert message in str(caught.value) and str(path) in str(caught.value)


@pytest.mark.parametrize("key", ["scale", "offset"])
def test_splits_must_be_scaled_alike(path, key):
    with h5py.File(write(path), "r+") as file:
        file["test/x"].attrs[key] = 0.25
    with pytest.raises(UserError, match=f"test/x: the attribute {key} is 0.25, but"):
        describe(path)


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        ("train", "has no group 'train', only test"),
        ("test", "has no group 'test', only train"),
        ("train/x", "group 'train' has no data set 'x', only y"),
        ("test/y", "group 'test' has no data set 'y', only x"),
    ],
)
@pytest.mark.parametrize("link", [False, True])
def test_missing_groups_and_data_sets(path, gone, message, link):
    with h5py.File(write(path), "r+") as file:
        del file[gone]
        if link:  # a link that leads nowhere is as good as none
            file[gone] = h5py.SoftLink("/nowhere")
    with pytest.raises(UserError, match=message.split(", only")[0]):
        describe(path)


def test_a_group_where_a_data_set_should_be(path):
    with h5py.File(write(path), "r+") as file:
        del file["train/x"]
        file.create_group("train/x")
    with pytest.raises(UserError, match="has no data set 'x'"):
        describe(path)


def test_missing_file_directory_device_and_other_formats(tmp_path):
    (tmp_path / "text.h5").write_text("not HDF5")
    (tmp_path / "empty.h5").touch()
    for name, message in {
        "none.h5": "there is no such file", "text.h5/x.h5": "no such file", "nul\0.h5": "no such",
        ".": "is a directory", "text.h5": "is not an HDF5 file", "empty.h5": "is not an HDF5 file",
    }.items():  # fmt: skip
        with pytest.raises(UserError, match=message):
            describe(f"{tmp_path}/{name}")
    with pytest.raises(UserError, match="or a device"):
        describe("/dev/null")


def test_file_without_permission(path, monkeypatch):
    write(path)
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may read everything
    with pytest.raises(UserError, match="may not be read"):
        describe(path)


@pytest.mark.parametrize("keep", [100, 900, 3000])
def test_truncated_file(path, keep):
    os.truncate(write(path), keep)
    with pytest.raises(UserError, match=str(path)):
        describe(path)


@pytest.mark.parametrize("layout", [{}, {"chunks": True}])
def test_file_cut_while_it_is_read(path, layout):
    """HDF5 itself would return zeros for the contiguous one, without an error."""
    write(path, RNG.integers(1, 256, (20000, 6), dtype=np.uint8), **layout)
    with Split(path, "train") as split:
        split.read([(0, 10)])
        os.truncate(path, 4096)
        with pytest.raises(UserError, match="train/x cannot be read"):
            split.read([(15000, 15010)])


def test_file_removed_while_it_is_read_can_be_read_on(path):
    x = RNG.integers(1, 256, (200, 6), dtype=np.uint8)
    with Split(write(path, x), "train") as split:
        path.unlink()
        assert np.array_equal(split.read([(100, 200)]), x[100:])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_found_in_the_portion_that_holds_them(path, bad):
    x = RNG.normal(size=(40, 6)).astype("f4")
    x[17, 4] = bad
    found = describe(write(path, x))
    assert found.dtype == "float32"
    with Split(path, "train", (2, 6)) as split:
        split.read([(0, 17), (18, 40)])
        with pytest.raises(UserError, match=rf"train/x holds {bad} in row 17, column 4"):
            split.read([(30, 40), (10, 20)])
    with Split(path, "train", (0, 4)) as split:
        split.read([(0, 40)])


def test_a_value_that_is_not_finite_is_found_in_a_window(path):
    x = RNG.normal(size=(40, 6, 5, 2)).astype("f4")
    x[17, 4, 3, 1] = np.nan
    with Split(write(path, x), "train", window=((3, 6), (2, 5), (1, 2))) as split:
        with pytest.raises(UserError, match=rf"train/x holds nan in row 17, column {4 * 10 + 3 * 2 + 1}:"):
            split.read([(10, 20)])
    with Split(path, "train", window=((3, 6), (2, 5), (0, 1))) as split:
        split.read([(10, 20)])


def test_missing_source_of_a_virtual_data_set(path, tmp_path):
    """HDF5 itself would return zeros."""
    write(tmp_path / "source.h5", X, Y)
    write(path, X, Y)
    layout = h5py.VirtualLayout((4, 3), np.uint8)
    layout[:] = h5py.VirtualSource("source.h5", "train/x", (4, 3))
    with h5py.File(path, "r+") as file:
        del file["train/x"]
        file["train"].create_virtual_dataset("x", layout)
    assert describe(path).train_rows == 4
    (tmp_path / "source.h5").unlink()
    with pytest.raises(UserError, match=r"takes rows from source\.h5, which is missing"):
        describe(path)


def virtual(path, source, shape=(4, 3), **more):
    """Let train/x take its rows from elsewhere."""
    layout = h5py.VirtualLayout((4, 3), np.uint8)
    layout[: shape[0]] = h5py.VirtualSource(*source, shape, **more)
    with h5py.File(path, "r+") as file:
        del file["train/x"]
        file["train"].create_virtual_dataset("x", layout)


def test_rows_that_a_virtual_data_set_cannot_have(path, tmp_path):
    """HDF5 itself would return zeros for all of these, but for the circle, on which it crashes."""
    write(tmp_path / "source.h5", X[:3], Y[:3])
    for source, shape, message in [
        ((".", "train/x"), (4, 3), "takes rows from itself"),
        (
            ("source.h5", "train/none"),
            (4, 3),
            r"\(rows in .*source.h5: train/none\): there is no such data set",
        ),
        (("source.h5", "train/x"), (4, 3), "source.h5: train/x.: 12 values are to come from 9"),
        (("source.h5", "train/x"), (3, 3), "takes 9 values from elsewhere, but has 12"),
    ]:
        virtual(write(path, X, Y), source, shape)
        with pytest.raises(UserError, match=message):
            describe(path)


@pytest.mark.parametrize("key", ["x", "y"])
@pytest.mark.parametrize("chunks", [None, True])
def test_rows_that_were_never_written(path, key, chunks):
    with h5py.File(write(path, X, Y), "r+") as file:
        kind, shape = file["train"][key].dtype, file["train"][key].shape
        del file["train"][key]
        file["train"].create_dataset(key, shape, kind, chunks=chunks)
    with pytest.raises(UserError, match=f"train/{key} has shape .* were written; write the file again"):
        describe(path, stand_in=False)


@pytest.mark.parametrize("change", ["rows", "scale", "shape"])
def test_another_file_than_the_one_described(path, change):
    """As on a host that has its own copy."""
    x = np.ones((40, 6), np.uint8)
    found = describe(write(path, x))
    with Split(path, "test") as split:
        check_whole(split, found)
    x_test = {"rows": x[:8], "shape": x[:9, :5]}.get(change, x[:9])
    with h5py.File(write(path, x, x_test=x_test, y_test=np.arange(len(x_test))), "r+") as file:
        if change == "scale":
            file["test/x"].attrs["scale"] = 0.5
    with Split(path, "test") as split, pytest.raises(UserError, match=f"test has .*{change} .* here, but"):
        check_whole(split, found)


def test_each_rank_looks_for_rows_that_were_never_written(path):
    x = np.ones((40, 6), np.uint8)
    found = describe(write(path, x, chunks=(8, 6)))
    with h5py.File(path, "r+") as file:
        del file["train/x"]
        file["train"].create_dataset("x", x.shape, x.dtype, chunks=(8, 6))[:8] = 1
    with Split(path, "train") as split, pytest.raises(UserError, match="of its 5 chunks 1 were written"):
        check_whole(split, found)


@pytest.mark.parametrize("layout", [{}, {"chunks": (5, 6)}])
def test_a_file_with_a_user_block(path, layout):
    with h5py.File(path, "w", userblock_size=4096) as file:
        for name in ("train", "test"):
            file.create_dataset(f"{name}/x", data=np.ones((40, 6), np.uint8), **layout)
            file[f"{name}/y"] = np.zeros(40, int)
    assert describe(path, stand_in=False).train_rows == 40


def test_rows_in_another_raw_file(path, tmp_path):
    raw = tmp_path / "rows.raw"
    raw.write_bytes(X.tobytes())
    with h5py.File(write(path, X, Y), "r+") as file:
        del file["train/x"]
        file["train"].create_dataset("x", X.shape, X.dtype, external=[(str(raw), 0, X.nbytes)])
    assert describe(path).train_rows == 4
    os.truncate(raw, X.nbytes - 1)
    with pytest.raises(
        UserError, match=r"\(rows in .*rows.raw\): the raw file is to have 12 bytes, but has 11"
    ):
        describe(path)


def test_a_damaged_index_of_chunks(path):
    """HDF5 crashes on the chunk of size 0 with a checksum."""
    write(path, X, Y, chunks=(1, 3), fletcher32=True)
    with h5py.File(path) as file:
        stored = file["train/x"].id
        known = [stored.get_chunk_info(i) for i in range(stored.get_num_chunks())]
    content = path.read_bytes()
    entry = known[2].size.to_bytes(4, "little") + (0).to_bytes(4, "little")  # size and mask of a B-tree's key
    at = [i for i in range(len(content)) if content.startswith(entry, i)][2]
    address = content.index(known[2].byte_offset.to_bytes(8, "little"), at)
    for start, new in ((at, bytes(4)), (address, known[1].byte_offset.to_bytes(8, "little"))):
        path.write_bytes(content[:start] + new + content[start + len(new) :])
        with pytest.raises(UserError, match="train/x has an index that leads to chunks which overlap"):
            describe(path)


@pytest.mark.parametrize(("bad", "key"), [(2e18, "x"), (-2e30, "y")])
def test_values_too_large_to_compute_with(path, bad, key):
    values = np.ones((40, 2))
    values[17, 1] = bad
    write(path, **{"x": np.ones((40, 2)), "y": np.ones((40, 2)), key: values})
    with Split(path, "train") as split, pytest.raises(UserError, match=rf"{key} holds .* in row 17, col"):
        split.read([(10, 20)])
        split.targets([(10, 20)])


def test_a_label_without_a_unit_is_found_as_it_is_read(path):
    with Split(write(path), "train") as split:
        split.classes = 3
        with pytest.raises(UserError, match=r"train/y holds the label 3 in row 7, but the last layer has 3"):
            split.labels([(4, 7), (7, 9)])
        assert split.labels([(4, 7)]).tolist() == [0, 1, 2]


def test_a_file_that_was_changed_after_it_was_opened(path):
    x = RNG.integers(1, 256, (40, 6), dtype=np.uint8)
    with Split(write(path, x), "train") as split:
        split.read([(0, 4)])
        path.write_bytes(path.read_bytes())
        os.utime(path, ns=(0, path.stat().st_mtime_ns + 10**9))  # clocks of file systems are coarse
        with pytest.raises(UserError, match="was changed after it was opened"):
            split.read([(0, 4)])


def test_opened_without_locks(path):
    """A file that somebody else has locked, as for writing, is read all the same."""
    with write(path).open("r+b") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(OSError, match="lock"):
            h5py.File(path, "r", locking=True)
        assert describe(path).train_rows == 40


def test_reads_only_what_is_asked_for(path):
    """A sparse file of 64 GiB: reading it whole would take a minute and all of the memory."""
    with h5py.File(path, "w") as file:
        for name, rows in (("train", 1 << 26), ("test", 10)):
            space = h5py.h5s.create_simple((rows, 1024))
            plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            plist.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
            plist.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
            h5py.h5d.create(file.create_group(name).id, b"x", h5py.h5t.NATIVE_UINT8, space, plist)
            file.create_dataset(f"{name}/y", shape=(rows,), dtype="u1", chunks=(min(rows, 1 << 20),))
    with Split(path, "train", (1000, 1024)) as split:
        assert split.read([(1 << 25, (1 << 25) + 100), ((1 << 26) - 1, 1 << 26)]).shape == (101, 24)


def test_a_window_reads_only_the_chunks_that_it_meets(path):
    """The other chunks of the images are overwritten: to read one of them is an error."""
    x = RNG.integers(1, 255, (4, 6, 6, 1), dtype=np.uint8)
    write(path, x, chunks=(2, 3, 3, 1), compression="gzip")
    with h5py.File(path) as file:
        stored = file["train/x"].id
        chunks = [stored.get_chunk_info(i) for i in range(stored.get_num_chunks())]
    with path.open("r+b") as file:
        for chunk in chunks:
            if chunk.chunk_offset[1:3] != (3, 0):
                file.seek(chunk.byte_offset)
                file.write(bytes(chunk.size))
    with Split(path, "train", window=((3, 6), (0, 3), (0, 1))) as split:
        assert np.array_equal(split.read([(0, 4)]), x[:, 3:, :3])
    with Split(path, "train", window=((2, 6), (0, 3), (0, 1))) as split, pytest.raises(UserError):
        split.read([(0, 4)])


@pytest.mark.parametrize("ranges", [[(0, 41)], [(-1, 3)], [(5, 4)]])
def test_ranges_outside_of_the_split_are_refused(path, ranges):
    with Split(write(path), "train") as split, pytest.raises(ValueError):
        split.read(ranges)


@pytest.mark.parametrize("columns", [(0, 61), (-1, 3), (5, 4)])
def test_columns_outside_of_the_split_are_refused(path, columns):
    with pytest.raises(ValueError):
        Split(write(path), "train", columns)


@pytest.mark.parametrize(
    "window",
    [((0, 6), (0, 5)), ((0, 7), (0, 5), (0, 2)), ((-1, 6), (0, 5), (0, 2)), ((0, 6), (3, 2), (0, 2))],
)
def test_windows_outside_of_the_image_are_refused(path, window):
    with pytest.raises(ValueError, match="window"):
        Split(write(path), "train", window=window)


def test_columns_and_a_window_exclude_each_other(path):
    with pytest.raises(ValueError, match="columns"):
        Split(write(path), "train", (0, 60), ((0, 6), (0, 5), (0, 2)))


def test_fits(path):
    digits = describe("digits")
    for loss in ("softmax", "logistic", "squared"):
        check_fits(digits, 10, loss)
        check_fits(digits, 12, loss)
        with pytest.raises(UserError, match=r"labels up to 9, but the last layer has 8 units .* give it 10"):
            check_fits(digits, 8, loss)
    targets = describe(write(path, y=RNG.normal(size=(40, 3))))
    check_fits(targets, 3, "squared")
    for outputs in (2, 4):
        with pytest.raises(UserError, match=rf"3 targets .* has {outputs} units .* give it 3"):
            check_fits(targets, outputs, "squared")
    for loss in ("softmax", "logistic"):
        with pytest.raises(UserError, match=rf'loss = "{loss}" needs integer labels'):
            check_fits(targets, 3, loss)


def test_the_example_of_the_documentation_is_a_data_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec((ROOT / "docs" / "data.md").read_text().split("```python\n")[1].split("```")[0], {})
    found = describe("own.h5")
    assert (found.train_rows, found.inputs, found.classes, found.chunk_rows) == (10_000, 40, 3, 128)
    assert (found.scale, found.offset) == (0.5, -0.5)


@pytest.mark.parametrize("names", [["cat", "dög"], [b"cat", "dög".encode()]])
def test_class_names_are_read(tmp_path, names):
    path = tmp_path / "named.h5"
    with h5py.File(path, "w") as file:
        for split in ("train", "test"):
            file[f"{split}/x"], file[f"{split}/y"] = np.zeros((4, 3), "f4"), np.arange(4) % 2
        file["train/y"].attrs["class_names"] = names
    assert describe(path).class_names == ("cat", "dög")


@pytest.mark.parametrize("names", [7, "cat", [["cat"]], [1, 2], [b"\xff"]])
def test_class_names_that_are_none_are_refused(tmp_path, names):
    path = tmp_path / "named.h5"
    with h5py.File(path, "w") as file:
        for split in ("train", "test"):
            file[f"{split}/x"], file[f"{split}/y"] = np.zeros((4, 3), "f4"), np.arange(4) % 2
        file["train/y"].attrs["class_names"] = names
    with pytest.raises(UserError, match="class_names"):
        describe(path)


@pytest.mark.parametrize("names", [["a"] * 3, ["a"] * 5])
def test_class_names_are_as_many_as_units(path, names):
    write(path)
    with h5py.File(path, "a") as file:
        file["train/y"].attrs["class_names"] = names
    with pytest.raises(UserError, match="give it .*, or write a name for each unit"):
        check_fits(describe(path), 4, "softmax")
