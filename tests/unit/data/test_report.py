"""`python -m dbmpi.data`: what it shows of files of the format and of others, and its statuses."""

import h5py
import numpy as np
import pytest

from dbmpi.data.report import main

RNG = np.random.default_rng(2)


def shown(capsys, *arguments):
    """Run the command line; return its status and what it printed."""
    status = main([str(one) for one in arguments])
    printed = capsys.readouterr()
    assert printed.err.count("\n") == (status != 0)
    return status, printed.out, printed.err


def test_the_digits(capsys):
    status, out, _ = shown(capsys, "digits")
    assert status == 0
    for words in (
        "train/x: (1437, 8, 8) uint8, chunks (128, 8, 8) of 8.192 kB, gzip",
        "rows: 1,437 to learn from, 360 for test",
        "inputs: (8, 8) uint8, an image (H, W); scale 0.0625, offset 0",
        "values: 0 to 16 as stored, of all rows",
        "classes: 10 (0: 142, 1: 146",
        "order: random, as far as the classes show",
        "reading: 1,4",
    ):
        assert words in out, out


def test_a_file_of_others_with_hints(tmp_path, capsys):
    x, y = RNG.integers(0, 256, (300, 3, 8, 9), dtype=np.uint8), np.sort(RNG.integers(1, 5, 300))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"], file["labels"], file["speaker"] = x, y, y * 7
    status, out, _ = shown(capsys, tmp_path / "a.h5")
    assert status == 0
    for words in (
        'inputs = "images"',
        'targets = "labels"',
        'layout = "channels_first"',
        'groups = "speaker"',
        "inputs: (8, 9, 3) uint8",
        "rows: 270 to learn from, 30 for test, cut from the 300 of images",
        'classes: 4 (0 "1": ',
        "order: sorted by class: every replica learns from one stretch of rows, and one of four would see",
    ):
        assert words in out, out
    keys = ("data.inputs=images", "data.targets=labels", "data.layout=channels_first")
    status, out, _ = shown(capsys, tmp_path / "a.h5", "--set", *keys, "data.validation_fraction=0.1")
    assert (
        status == 0
        and "240 to learn from, 30 for validation, 30 for test" in out
        and "to train on it" not in out
    )


@pytest.mark.parametrize(
    ("sets", "hints"),
    [
        ({"x_train": 0, "y_train": 1, "x_test": 0, "y_test": 1}, ('"x_{split}"', '"y_{split}"')),
        (
            {"train/features": 0, "train/label": 1, "test/features": 0, "test/label": 1},
            ('"features"', '"label"'),
        ),
        (
            {"deep/data": 0, "deep/target": 1, "deep/patient": 1},
            ('"/deep/data"', '"/deep/target"', 'groups = "patient"'),
        ),
    ],
)
def test_names_are_guessed(tmp_path, capsys, sets, hints):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, kind in sets.items():
            file[name] = RNG.normal(size=(40, 5)) if kind == 0 else np.arange(40) % 3
    status, out, _ = shown(capsys, tmp_path / "a.h5")
    assert status == 0 and all(hint in out for hint in hints), out


def test_what_is_wrong_is_one_line_and_status_2(tmp_path, capsys):
    status, out, err = shown(capsys, tmp_path / "none.h5")
    assert status == 2 and "there is no such file" in err
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"], file["y"] = np.full((40, 5), np.nan), np.arange(40)
    status, out, err = shown(capsys, tmp_path / "a.h5")
    assert status == 2 and "x holds nan in row 0, column 0" in err
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["names"] = np.arange(40)
    status, out, err = shown(capsys, tmp_path / "b.h5")
    assert status == 2 and "name yours by data.inputs and data.targets" in err


@pytest.mark.parametrize(
    ("chunks", "words"),
    [((1, 20), "chunks of 80 bytes are small"), ((500, 7), "chunks cut rows apart"), ((250, 20), "")],
)
def test_chunks_that_make_reading_slow_are_told(tmp_path, capsys, chunks, words):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=RNG.normal(size=(500, 20)).astype("f4"), chunks=chunks)
        file["y"] = RNG.integers(0, 3, 500)
    status, out, _ = shown(capsys, tmp_path / "a.h5")
    assert status == 0 and (f"warning: {words}" in out if words else "warning" not in out), out


def test_data_sets_of_odd_kinds_and_damage_are_no_traceback(tmp_path, capsys):
    path = tmp_path / "odd.h5"
    with h5py.File(path, "w", libver="latest") as file:
        file["images"], file["labels"] = np.random.default_rng(1).normal(size=(60, 3)), np.arange(60) % 2
        file["nothing"], file[b"b\xff"] = h5py.Empty("f8"), np.zeros(60)
        h5py.h5d.create(file.id, b"time", h5py.h5t.UNIX_D32LE, h5py.h5s.create_simple((60,)))
    assert main([str(path)]) == 0 and 'inputs = "images"' in capsys.readouterr().out
    content = bytearray(path.read_bytes())
    for at in range(48, 400):  # the root group, whose checksum tells
        content[at] ^= 1
    path.write_bytes(content)
    assert main([str(path)]) == 2 and capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("names", ["{}/{}", "{}_{}"])
def test_a_split_that_others_call_val_is_told_and_used(tmp_path, capsys, names):
    x, y = RNG.normal(size=(300, 4)), RNG.integers(0, 3, 300)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for split, rows in {"train": 300, "val": 40, "test": 50}.items():
            file[names.format(split, "x")], file[names.format(split, "y")] = x[:rows], y[:rows]
    status, out, _ = shown(capsys, tmp_path / "a.h5")
    assert status == 0 and 'validation = "val"' in out
    keys = ("data.inputs={split}_x", "data.targets={split}_y") if "_" in names else ()
    status, out, _ = shown(capsys, tmp_path / "a.h5", "--set", *keys, "data.validation=val")
    assert status == 0 and "40 for validation, 50 for test" in out and "not used" not in out
    if keys:
        assert "not used" in shown(capsys, tmp_path / "a.h5", "--set", *keys)[1]


def test_what_looks_like_channels_first_is_told(tmp_path, capsys):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"], file["y"] = RNG.integers(0, 9, (60, 3, 8, 9), np.uint8), RNG.integers(0, 3, 60)
    assert 'set data.layout = "channels_first"' in shown(capsys, tmp_path / "a.h5")[1]
    assert "layout" not in shown(capsys, tmp_path / "a.h5", "--set", "data.layout=channels_first")[1]


def test_files_that_are_no_data_files_yet(tmp_path, capsys):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["df/block0_values"] = np.ones((9, 2))
        file["df"].attrs["pandas_type"] = "frame"
    assert "to_parquet" in shown(capsys, tmp_path / "a.h5")[2]
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    assert f"prepare table {tmp_path}/a.csv OUT.h5 --target" in shown(capsys, tmp_path / "a.csv")[2]
