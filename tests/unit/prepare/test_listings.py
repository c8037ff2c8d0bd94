"""Folders and tables of files, by the names that others give them."""

import wave

import h5py
import numpy as np
import pytest

from dbmpi.prepare.command import main

Image = pytest.importorskip("PIL.Image")


@pytest.fixture
def prepare(tmp_path, capsys):
    def run(kind, path, *options):
        out = tmp_path / "out.h5"
        status = main(
            [
                kind,
                str(path),
                str(out),
                "--replace",
                "--keep-order",
                "--test-fraction",
                "0",
                "--jobs",
                "1",
                *options,
            ]
        )
        printed = capsys.readouterr()
        if status:
            assert printed.err.count("\n") == 1
            return printed.err
        with h5py.File(out) as file:
            return {split: file[split]["y"][()] for split in file} | {
                "names": [*file["train/y"].attrs.get("class_names", ())],
                "printed": printed.out,
            }

    return run


def grey(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 4), value).save(path)


def test_folders_of_splits_under_other_names(prepare, tmp_path):
    for split, rows in {"Training": 4, "val": 2, "extra": 3}.items():
        for number in range(rows):
            grey(tmp_path / "own" / split / "ab"[number % 2] / f"{number}.png", 9)
    (tmp_path / "own" / "Training" / "a" / "Thumbs.db").write_bytes(b"x")
    (tmp_path / "own" / "notes.txt").write_text("x")
    found = prepare("images", tmp_path / "own")
    assert (len(found["train"]), len(found["validation"])) == (4, 2)
    assert (
        "the folder extra, which is no split" in found["printed"]
        and "1 file in no folder" in found["printed"]
    )
    assert "Thumbs.db" not in found["printed"]
    (tmp_path / "own" / "valid").mkdir()
    assert "both mean validation" in prepare("images", tmp_path / "own")


@pytest.fixture
def listed(tmp_path):
    lines = ["id;breed;age;smiles;hat;words;person"]
    for number in range(12):
        grey(tmp_path / "files" / f"{number}.png", number)
        odd = number % 2
        lines.append(f"{number};{'ab'[odd]};{number}.5;{odd};{number // 6};a {'bc'[odd]};p{number // 4}")
    (tmp_path / "list.csv").write_text("\n".join(lines))
    return tmp_path / "list.csv"


@pytest.mark.parametrize(
    "options, y, names",
    [
        (["--label", "breed"], [0, 1, 0], ["a", "b"]),
        (["--label", "age"], [0.5, 1.5, 2.5], []),
        (["--label", "smiles", "--label", "hat"], [[0, 0], [1, 0], [0, 0]], ["smiles", "hat"]),
        (["--label", "words", "--separator", " "], [[1, 1, 0], [1, 0, 1], [1, 1, 0]], ["a", "b", "c"]),
    ],
)
def test_images_of_a_table_by_its_columns(prepare, listed, options, y, names):
    found = prepare("images", listed, "--path", "files/{id}.png", *options)
    assert found["train"][:3].tolist() == y and found["names"] == names


def test_images_of_a_group_stay_together(prepare, listed):
    options = "--path", "files/{id}.png", "--label", "breed", "--groups", "person", "--test-fraction", "0.3"
    assert len(prepare("images", listed, *options)["test"]) == 4


@pytest.mark.parametrize(
    "options, said",
    [
        (["--label", "breed"], "--path NAME; it has id, breed"),
        (["--path", "id"], "has no column label: which is meant? --label NAME"),
        (["--path", "id", "--label", "breed"], "--path 'FOLDER/{NAME}' says"),
        (["--path", "files/{nr}.png", "--label", "breed"], 'has no column "nr"'),
    ],
)
def test_what_is_missing_is_told(prepare, listed, options, said):
    assert said in prepare("images", listed, *options)


def test_recordings_in_folders_of_their_labels(prepare, tmp_path):
    for number in range(8):
        path = tmp_path / "own" / ("yes", "no")[number % 2] / f"s{number // 2}_{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 2, 8000, 0, "NONE", ""))
            file.writeframes(np.arange(2400, dtype=np.int16).tobytes())
    found = prepare("speech", tmp_path / "own")
    assert found["names"] == ["no", "yes"] and len(found["train"]) == 8 * 28
    found = prepare("speech", tmp_path / "own", "--names", "{label}/{group}_{}", "--test-fraction", "0.3")
    assert len(found["test"]) in (2 * 2 * 28, 1 * 2 * 28)
    table = tmp_path / "own" / "list.csv"
    table.write_text(
        "filename,category\n" + "\n".join(f"yes/s{number // 2}_{number}.wav,{number}" for number in (0, 2, 4))
    )
    assert prepare("speech", table)["names"] == ["0", "2", "4"]
