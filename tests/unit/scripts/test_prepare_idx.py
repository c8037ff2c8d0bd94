"""scripts/prepare_idx.py: from four IDX files to the HDF5 format, or one line that says what is wrong."""

import gzip
import importlib.util
import struct
import subprocess
import sys

import h5py
import numpy as np
import pytest

from dbmpi.data.describe import describe
from dbmpi.data.split import Split
from tests import ROOT
from tests.doubles.shared_data import mnist

SCRIPT = ROOT / "scripts" / "prepare_idx.py"
NAMES = {
    ("train", "images"): "train-images-idx3-ubyte",
    ("train", "labels"): "train-labels-idx1-ubyte",
    ("test", "images"): "t10k-images-idx3-ubyte",
    ("test", "labels"): "t10k-labels-idx1-ubyte",
}


@pytest.fixture(scope="module")
def prepare_idx():
    spec = importlib.util.spec_from_file_location("prepare_idx", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def arrays():
    rng = np.random.default_rng(1)
    made = {}
    for split, rows in (("train", 300), ("test", 20)):
        made[split, "images"] = rng.integers(0, 256, (rows, 5, 4), dtype=np.uint8)
        made[split, "labels"] = rng.integers(0, 10, rows, dtype=np.uint8)
    return made


@pytest.fixture
def folder(tmp_path, arrays):
    """Return a folder of tiny IDX files: the train files plain, the test files gzipped."""
    for key, array in arrays.items():
        header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
        content = header + array.tobytes()
        if key[0] == "train":
            (tmp_path / NAMES[key]).write_bytes(content)
        else:
            (tmp_path / (NAMES[key] + ".gz")).write_bytes(gzip.compress(content))
    return tmp_path


@pytest.mark.parametrize("options", [[], ["--gzip"]])
def test_round_trip(prepare_idx, folder, arrays, options):
    out = folder / "out.h5"
    assert prepare_idx.main([str(folder), str(out), *options]) == 0
    for split in ("train", "test"):
        with Split(out, split) as reader:
            rows = [(0, reader.rows)]
            assert np.array_equal(reader.read(rows), arrays[split, "images"].reshape(-1, 20))
            assert np.array_equal(reader.labels(rows), arrays[split, "labels"])
    with h5py.File(out, "r") as file:
        assert file["train/x"].chunks == (128, 5, 4) and file["train/x"].dtype == np.uint8
        assert file["train/x"].compression == ("gzip" if options else None)
    assert describe(out).scale == 1 / 255


def test_runs_as_a_script_without_the_package(folder, tmp_path):
    command = [sys.executable, "-I", str(SCRIPT), str(folder), str(tmp_path / "out.h5")]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "train (300, 5, 4)" in done.stdout


def remove(path):
    path.unlink()


def wrong_magic(path):
    path.write_bytes(b"\0\0\x0d\x03" + path.read_bytes()[4:])


def truncate(path):
    path.write_bytes(path.read_bytes()[:-7])


def cut_header(path):
    path.write_bytes(path.read_bytes()[:6])


def lengthen(path):
    path.write_bytes(path.read_bytes() + b"x")


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "t10k-images-idx3-ubyte.gz"])
@pytest.mark.parametrize("harm", [remove, wrong_magic, truncate, cut_header, lengthen])
def test_wrong_input_is_named_and_leaves_nothing_behind(prepare_idx, folder, capsys, name, harm):
    harm(folder / name)
    before = sorted(folder.iterdir())
    assert prepare_idx.main([str(folder), str(folder / "out.h5")]) == 2
    message = capsys.readouterr().err
    assert name in message and message.count("\n") == 1
    assert sorted(folder.iterdir()) == before


def test_labels_of_another_set_are_refused(prepare_idx, folder, capsys):
    (folder / NAMES["train", "labels"]).write_bytes(bytes([0, 0, 8, 1]) + struct.pack(">I", 3) + b"\1\2\3")
    assert prepare_idx.main([str(folder), str(folder / "out.h5")]) == 2
    assert "3 labels" in capsys.readouterr().err


def test_sizes_must_agree(prepare_idx, folder, capsys):
    images = bytes([0, 0, 8, 3]) + struct.pack(">3I", 20, 4, 5) + bytes(400)
    (folder / (NAMES["test", "images"] + ".gz")).write_bytes(gzip.compress(images))
    assert prepare_idx.main([str(folder), str(folder / "out.h5")]) == 2
    assert "different sizes" in capsys.readouterr().err


def test_output_folder_must_exist(prepare_idx, folder, capsys):
    assert prepare_idx.main([str(folder), str(folder / "none" / "out.h5")]) == 2
    assert "folder is missing" in capsys.readouterr().err


def test_failed_write_keeps_the_old_file(prepare_idx, folder, monkeypatch):
    out = folder / "out.h5"
    out.write_bytes(b"old")
    monkeypatch.setattr(prepare_idx.os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    assert prepare_idx.main([str(folder), str(out)]) == 2
    assert out.read_bytes() == b"old" and not list(folder.glob(".*.tmp"))


def test_mnist(prepare_idx, tmp_path):
    out = tmp_path / "mnist.h5"
    assert prepare_idx.main([str(mnist()), str(out)]) == 0
    found = describe(out)
    assert (found.train_rows, found.test_rows, found.input_shape) == (60000, 10000, (28, 28))
    assert (found.classes, found.chunk_rows) == (10, 128)
    with Split(out, "train") as train:
        # Of the published statistics of the training set: mean 0.1307; 5, 0, 4, 1, 9 come first.
        assert train.labels([(0, 5)]).tolist() == [5, 0, 4, 1, 9]
        assert train.read([(0, 60000)]).mean() * train.scale == pytest.approx(0.1307, abs=1e-4)
