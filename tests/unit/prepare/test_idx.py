"""`prepare idx`: from four IDX files to the HDF5 format, or one line that says what is wrong."""

import gzip
import struct
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from dbmpi.data.describe import describe
from dbmpi.data.split import Split
from dbmpi.prepare.command import main
from tests import ROOT
from tests.doubles.shared_data import mnist

SCRIPT = ROOT / "scripts" / "prepare_idx.py"
NAMES = {
    ("train", "images"): "train-images-idx3-ubyte",
    ("train", "labels"): "train-labels-idx1-ubyte",
    ("test", "images"): "t10k-images-idx3-ubyte",
    ("test", "labels"): "t10k-labels-idx1-ubyte",
}


def prepare(folder, out, *options):
    return main(["idx", str(folder), str(out), "--keep-order", *options])


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
def test_round_trip(folder, arrays, options):
    out = folder / "out.h5"
    assert prepare(folder, out, *options) == 0
    for split in ("train", "test"):
        with Split(out, split) as reader:
            rows = [(0, reader.rows)]
            assert np.array_equal(reader.read(rows), arrays[split, "images"].reshape(-1, 20))
            assert np.array_equal(reader.labels(rows), arrays[split, "labels"])
    with h5py.File(out, "r") as file:
        assert file["train/x"].chunks == (300, 5, 4) and file["train/x"].dtype == np.uint8
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
def test_wrong_input_is_named_and_leaves_nothing_behind(folder, capsys, name, harm):
    harm(folder / name)
    before = sorted(folder.iterdir())
    assert prepare(folder, folder / "out.h5") == 2
    message = capsys.readouterr().err
    assert name in message and message.count("\n") == 1
    assert sorted(folder.iterdir()) == before


def test_labels_of_another_set_are_refused(folder, capsys):
    (folder / NAMES["train", "labels"]).write_bytes(bytes([0, 0, 8, 1]) + struct.pack(">I", 3) + b"\1\2\3")
    assert prepare(folder, folder / "out.h5") == 2
    assert "3 labels" in capsys.readouterr().err


def test_sizes_must_agree(folder, capsys):
    images = bytes([0, 0, 8, 3]) + struct.pack(">3I", 20, 4, 5) + bytes(400)
    (folder / (NAMES["test", "images"] + ".gz")).write_bytes(gzip.compress(images))
    assert prepare(folder, folder / "out.h5") == 2
    assert "different sizes" in capsys.readouterr().err


def test_output_folder_must_exist(folder, capsys):
    assert prepare(folder, folder / "none" / "out.h5") == 2
    assert "folder is missing" in capsys.readouterr().err


def test_failed_write_keeps_the_old_file(folder, monkeypatch):
    out = folder / "out.h5"
    out.write_bytes(b"old")
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    assert prepare(folder, out, "--replace") == 2
    assert out.read_bytes() == b"old" and not list(folder.glob(".*.tmp"))


def test_mnist(tmp_path):
    out = tmp_path / "mnist.h5"
    assert prepare(mnist(), out) == 0
    found = describe(out)
    assert (found.train_rows, found.test_rows, found.input_shape) == (60000, 10000, (28, 28))
    assert (found.classes, found.chunk_rows) == (10, 128)
    with Split(out, "train") as train:
        # Of the published statistics of the training set: mean 0.1307; 5, 0, 4, 1, 9 come first.
        assert train.labels([(0, 5)]).tolist() == [5, 0, 4, 1, 9]
        assert train.read([(0, 60000)]).mean() * train.scale == pytest.approx(0.1307, abs=1e-4)
