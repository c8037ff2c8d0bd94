"""`prepare images`: what becomes of image files, damaged and foreign ones among them."""

import os
import zlib

import h5py
import numpy as np
import pytest

from dbmpi.prepare.command import main

Image = pytest.importorskip("PIL.Image")
COLOURS = {"blue": (0, 0, 200), "red": (200, 0, 0)}


@pytest.fixture
def folder(tmp_path):
    """Return a folder of 12 red and 12 blue images, in files of several kinds."""
    for number in range(12):
        for name, colour in COLOURS.items():
            path = tmp_path / "photos" / name / f"{number}{('.png', '.jpg', '.gif')[number % 3]}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (20, 10 + number), colour).save(path)
    return tmp_path / "photos"


@pytest.fixture
def prepare(tmp_path, capsys):
    def run(*arguments):
        status = main(
            ["images", *map(str, arguments[:1]), str(tmp_path / "out.h5"), "--replace", *arguments[1:]]
        )
        return status, capsys.readouterr()

    run.out = tmp_path / "out.h5"
    return run


@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize("fit", ["crop", "stretch"])
def test_folders_are_classes(prepare, folder, jobs, fit):
    assert prepare(folder, "--size", "8x6", "--test-fraction", "0.25", "--fit", fit, "--jobs", jobs)[0] == 0
    with h5py.File(prepare.out) as file:
        assert file["train/y"].attrs["class_names"].tolist() == ["blue", "red"]
        for split, rows in (("train", 18), ("test", 6)):
            x, y = file[split]["x"][()], file[split]["y"][()]
            assert (
                x.shape == (rows, 6, 8, 3)
                and x.dtype == np.uint8
                and np.bincount(y).tolist() == [rows // 2] * 2
            )
            assert (x[..., 0].mean(axis=(1, 2)) > 100).tolist() == (y == 1).tolist()
        assert file["train/x"].attrs["scale"] == 1 / 255


def test_splits_and_tables(prepare, folder, tmp_path):
    for split in ("train", "test"):
        (tmp_path / "split").mkdir(exist_ok=True)
        (tmp_path / "split" / split).symlink_to(folder)
    assert prepare(tmp_path / "split", "--size", "4x4", "--grey")[0] == 0
    with h5py.File(prepare.out) as file:
        assert file["train/x"].shape == file["test/x"].shape == (24, 4, 4)
    table = tmp_path / "list.csv"
    rows = [
        f"photos/{name}/{number}.png,{name},{'train' if number else 'test'}"
        for name in COLOURS
        for number in (0, 3, 6)
    ]
    table.write_text("\n".join(["path,label,split", *rows]))
    assert prepare(table, "--size", "4x4")[0] == 0
    with h5py.File(prepare.out) as file:
        assert (len(file["train/x"]), len(file["test/x"])) == (4, 2)


def test_sixteen_bits_and_transparency(prepare, tmp_path):
    for name, image in {
        "deep": Image.fromarray(np.full((4, 4), 0x8000, np.uint16)),
        "clear": Image.new("RGBA", (4, 4), (10, 20, 30, 40)),
    }.items():
        (tmp_path / "own" / name).mkdir(parents=True)
        image.save(tmp_path / "own" / name / "1.png")
    assert prepare(tmp_path / "own", "--test-fraction", "0", "--keep-order")[0] == 0
    with h5py.File(prepare.out) as file:
        assert file["train/x"][:, 0, 0].tolist() == [[10, 20, 30], [128, 128, 128]]


def bomb(path):
    """Write a PNG of a few bytes that claims to be 50,000 x 50,000 pixels."""
    header = b"IHDR" + (50_000).to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    chunk = (13).to_bytes(4, "big") + header + zlib.crc32(header).to_bytes(4, "big")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + b"\0\0\0\0IEND\xaeB`\x82")


DAMAGE = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:45]),
    "text": lambda path: path.write_text("no image"),
    "empty": lambda path: path.write_bytes(b""),
    "bomb": bomb,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_images_are_left_out_or_refused(prepare, folder, tmp_path, damage):
    DAMAGE[damage](folder / "red" / "3.png")
    assert prepare(folder, "--size", "4x4")[0] == 0
    with h5py.File(prepare.out) as file:
        assert len(file["train/x"]) + len(file["test/x"]) == 23 and "3.png" in file.attrs["left_out"]
    prepare.out.unlink()
    status, printed = prepare(folder, "--size", "4x4", "--strict")
    assert status == 2 and "3.png: cannot be read as an image" in printed.err and printed.err.count("\n") == 1
    assert os.listdir(tmp_path) == ["photos"]


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["{}"], "--size 20x10"),
        (["{}/red", "--size", "4x4"], "no image to train with"),
        (["{}/none"], "cannot be read as a CSV"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(prepare, folder, arguments, said):
    status, printed = prepare(*(one.format(folder) for one in arguments))
    assert status == 2 and said in printed.err and printed.err.count("\n") == 1


def test_a_class_that_only_the_test_split_has(prepare, tmp_path):
    for split, name in (("train", "a"), ("train", "b"), ("test", "c")):
        (tmp_path / "own" / split / name).mkdir(parents=True)
        Image.new("L", (4, 4)).save(tmp_path / "own" / split / name / "1.png")
    status, printed = prepare(tmp_path / "own")
    assert status == 2 and '"c", of which no training image is' in printed.err
