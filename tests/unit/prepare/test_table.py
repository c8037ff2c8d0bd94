"""`prepare table`: columns of numbers and of texts, and what is wrong with a table in one line."""

import gzip
import os
import re

import h5py
import numpy as np
import pytest

from dbmpi.data.describe import describe
from dbmpi.prepare import delimited
from dbmpi.prepare.command import main

RNG = np.random.default_rng(1)
SIZES, COLOURS = RNG.permutation(500) / 50, RNG.choice(["red", "green", "blue"], 500)
KINDS = np.where(SIZES > 5, "large", "small")


def lines(texts, header="size,colour,kind"):
    return "\n".join([header, *(",".join(map(str, row)) for row in texts), ""])


ROWS = [*zip(SIZES, COLOURS, KINDS, strict=True)]


@pytest.fixture
def prepare(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(delimited, "BLOCK_BYTES", 1000)

    def run(content, *options, name="in.csv"):
        path = tmp_path / name
        path.write_bytes(content) if isinstance(content, bytes) else path.write_text(content)
        status = main(["table", str(path), str(tmp_path / "out.h5"), "--replace", "--jobs", "1", *options])
        return status, capsys.readouterr()

    run.out = tmp_path / "out.h5"
    return run


def read(path):
    with h5py.File(path) as file:
        made = {f"{split}/{name}": file[split][name][()] for split in file for name in "xy"}
        return made | {"attrs": dict(file.attrs), "scale": dict(file["train/x"].attrs)}


@pytest.mark.parametrize("form", ["comma", "tab", "gzip", "quoted", "bom"])
def test_numbers_and_categories(prepare, form):
    text = lines(ROWS)
    if form == "quoted":
        text = lines((size, f'"{colour}"', f'"{kind}"') for size, colour, kind in ROWS)
    content = {"tab": text.replace(",", "\t"), "bom": "\ufeff" + text}.get(form, text)
    name = "in.csv.gz" if form == "gzip" else "in.csv"
    content = gzip.compress(text.encode()) if form == "gzip" else content
    assert prepare(content, "--target", "kind", "--scaling", "columns", name=name)[0] == 0
    found = read(prepare.out)
    assert found["attrs"]["columns"].tolist() == ["size", "colour=blue", "colour=green", "colour=red"]
    x = np.concatenate([found["train/x"], found["test/x"]])
    y = np.concatenate([found["train/y"], found["test/y"]])
    assert len(found["test/x"]) == 50
    assert np.array_equal(np.sort(x[:, 0]), np.sort(SIZES.astype(np.float32)))
    assert (y == (x[:, 0] <= 5)).all() and (x[:, 1:].sum(axis=1) == 1).all()
    colour = dict(zip(SIZES.astype(np.float32), COLOURS, strict=True))
    assert all(["blue", "green", "red"][row[1:].argmax()] == colour[row[0]] for row in x)
    scale, offset = found["scale"]["scale"], found["scale"]["offset"]
    scaled = found["train/x"] * scale + offset
    assert np.allclose(scaled.mean(axis=0), 0, atol=1e-5) and np.allclose(scaled.std(axis=0), 1, atol=1e-5)


def test_a_number_is_a_target_and_the_same_seed_gives_the_same_file(prepare):
    options = "--target", "size", "--validation-fraction", "0.2"
    assert prepare(lines(ROWS), *options)[0] == 0
    first = prepare.out.read_bytes()
    found = describe(prepare.out)
    assert (found.targets, found.classes, found.inputs, found.train_rows) == (1, None, 5, 350)
    assert prepare(lines(ROWS), *options)[0] == 0
    assert prepare.out.read_bytes() == first
    prepare(lines(ROWS), *options, "--seed", "2")
    assert prepare.out.read_bytes() != first


@pytest.mark.parametrize("missing, rows", [("drop", 499), ("mean", 500)])
def test_missing_numbers(prepare, missing, rows):
    holed = [("" if number == 7 else size, colour, kind) for number, (size, colour, kind) in enumerate(ROWS)]
    assert prepare(lines(holed), "--target", "kind", "--missing", missing, "--test-fraction", "0")[0] == 0
    found = read(prepare.out)
    assert len(found["train/x"]) == rows
    if missing == "mean":
        assert found["train/x"][:, 0].mean() == pytest.approx(np.delete(SIZES, 7).mean(), abs=1e-5)


def test_splits_and_groups_by_a_column(prepare):
    people = RNG.integers(0, 20, 500)
    rows = [(*row, f"p{person}") for row, person in zip(ROWS, people, strict=True)]
    assert prepare(lines(rows, "size,colour,kind,person"), "--target", "kind", "--groups", "person")[0] == 0
    person = dict(zip(SIZES.astype(np.float32), people, strict=True))
    found = read(prepare.out)
    train, test = ({person[one] for one in found[f"{split}/x"][:, 0]} for split in ("train", "test"))
    assert train and test and not train & test
    rows = [(*row, "test" if number % 5 == 0 else "train") for number, row in enumerate(ROWS)]
    assert prepare(lines(rows, "size,colour,kind,part"), "--target", "kind", "--split", "part")[0] == 0
    found = read(prepare.out)
    assert np.array_equal(np.sort(found["test/x"][:, 0]), np.sort(SIZES[::5].astype(np.float32)))


def put(row, column, value):
    def spoil(rows):
        cells = [*rows[row]]
        cells[column] = value
        return [*rows[:row], tuple(cells), *rows[row + 1 :]]

    return spoil


@pytest.mark.parametrize(
    "spoil, options, said",
    [
        (lambda rows: [*rows[:300], (1.0, "red"), *rows[300:]], [], "line 302: has 2 cells, but the header"),
        (put(300, 0, ""), [], 'in.csv: line 302: "size" is missing.*--missing'),
        (put(300, 0, "nan"), [], 'in.csv: line 302: "size" is missing'),
        (put(300, 0, "many"), [], 'in.csv: line 302: "size" is "many".*--categorical size'),
        (put(300, 0, "inf"), [], 'in.csv: line 302: "size" is "inf": not finite'),
        (put(300, 0, "1e300"), [], r"line 302.*beyond 1e\+18"),
        (put(300, 1, '"red'), [], "from line .*mend the quotes"),
        (lambda rows: [], [], "no row below its header"),
        (lambda rows: rows, ["--target", "price"], 'has no column "price"; it has size, colour or kind'),
        (lambda rows: rows, ["--target", "kinds"], 'did you mean "kind"'),
        (lambda rows: rows, ["--drop", "size", "--drop", "colour"], "no column is left to learn from"),
        (lambda rows: rows, ["--test-fraction", "0.0001"], "the split test would have no rows"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line_and_nothing_is_left(prepare, tmp_path, spoil, options, said):
    options = options if "--target" in options else ["--target", "kind", *options]
    status, printed = prepare(lines(spoil(ROWS)), *options)
    assert status == 2 and printed.err.count("\n") == 1 and re.search(said, printed.err), printed.err
    assert os.listdir(tmp_path) == ["in.csv"]


def test_parquet(prepare, tmp_path, capsys):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    columns = {"size": [None, *SIZES[1:]], "colour": [*COLOURS], "kind": [*KINDS]}
    pq.write_table(pa.table(columns), tmp_path / "in.parquet")
    command = ["table", str(tmp_path / "in.parquet"), str(prepare.out), "--target", "kind"]
    assert main(command) == 2 and 'in.parquet: row 1: "size" is missing' in capsys.readouterr().err
    assert main([*command, "--missing", "drop", "--test-fraction", "0"]) == 0
    with h5py.File(prepare.out) as file:
        assert np.array_equal(np.sort(file["train/x"][:, 0]), np.sort(SIZES[1:].astype(np.float32)))


def test_a_file_that_is_there_is_kept(prepare, tmp_path, capsys):
    prepare.out.write_text("mine")
    (tmp_path / "in.csv").write_text(lines(ROWS))
    assert main(["table", str(tmp_path / "in.csv"), str(prepare.out), "--target", "kind"]) == 2
    assert "--replace" in capsys.readouterr().err and prepare.out.read_text() == "mine"
