"""Tables as others export them: what is no input is left out, what is doubtful refused, with the remedy."""

import h5py
import numpy as np
import pytest

from dbmpi.prepare.command import main

RNG = np.random.default_rng(1)
ROWS = 200
SIZES = RNG.normal(5, 2, ROWS).round(3)
KINDS = np.where(SIZES > 5, "large", "small")


@pytest.fixture
def prepare(tmp_path, capsys):
    def run(columns, *options, content=None):
        """Prepare columns of cells by their names; return what was printed and written, or the error."""
        path = tmp_path / "in.csv"
        if content is None:
            lines = [
                ",".join(columns),
                *map(",".join, zip(*(map(str, one) for one in columns.values()), strict=True)),
            ]
            content = "\n".join(lines)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        out = tmp_path / "out.h5"
        status = main(
            [
                "table",
                str(path),
                str(out),
                "--replace",
                "--jobs",
                "1",
                "--keep-order",
                "--test-fraction",
                "0",
                *options,
            ]
        )
        printed = capsys.readouterr()
        if status:
            assert printed.err.count("\n") == 1
            return printed.err
        with h5py.File(out) as file:
            return (
                printed.out,
                file["train/x"][()],
                file["train/y"][()],
                dict(file.attrs),
                dict(file["train/y"].attrs),
            )

    return run


@pytest.mark.parametrize(
    "name, cells", [("", range(ROWS)), ("Unnamed: 0", range(5, ROWS + 5)), ("", [""] * ROWS)]
)
def test_a_column_without_a_name_that_counts_rows_is_no_input(prepare, name, cells):
    printed, x, *_ = prepare({name: cells, "size": SIZES, "kind": KINDS}, "--target", "kind")
    assert x.shape == (ROWS, 1) and "no name and only counts" in printed


def test_a_column_with_a_name_that_counts_rows_is_told(prepare):
    printed, x, *_ = prepare({"id": range(ROWS), "size": SIZES, "kind": KINDS}, "--target", "kind")
    assert x.shape == (ROWS, 2) and "id counts the rows" in printed


DOUBTFUL = {
    "dates": ([f"2024-03-{1 + n % 28:02}" for n in range(ROWS)], "--date it"),
    "other dates": ([f"{1 + n % 28}.3.2024" for n in range(ROWS)], "--date it=%d.%m.%Y"),
    "numbers with thousands": ([f'"{n},{n:03}"' for n in range(1, ROWS + 1)], "--thousands ,"),
    "numbers with a decimal comma": ([f'"{n},5"' for n in range(ROWS)], "--decimal ,"),
    "numbers and a sign for nothing": ([n if n % 9 else "-" for n in range(ROWS)], "--empty -"),
    "dates with a time": ([f"2024/3/{1 + n % 28} 10:30" for n in range(ROWS)], "--date it=%Y/%m/%d %H:%M"),
    "names of the rows": ([f"A{n}" for n in range(ROWS)], "--drop it"),
}  # fmt: skip


@pytest.mark.parametrize("form", DOUBTFUL)
def test_texts_that_are_rather_something_else_are_refused_and_the_remedy_helps(prepare, form):
    cells, remedy = DOUBTFUL[form]
    columns = {"size": SIZES, "it": cells, "kind": KINDS}
    options = "--target", "kind", "--missing", "mean"
    assert remedy in prepare(columns, *options).replace("'", "")
    _, x, *_ = prepare(columns, *options, *remedy.split(" ", 1))
    assert x.shape == (ROWS, 1 if "drop" in remedy else 2)
    assert prepare(columns, *options, "--categorical", "it")[1].shape[1] > 20


def test_all_doubtful_columns_are_named_at_once(prepare):
    said = prepare(
        {"day": DOUBTFUL["dates"][0], "it": DOUBTFUL["names of the rows"][0], "kind": KINDS},
        "--target",
        "kind",
    )
    assert "--date day" in said and "--drop it" in said


def test_dates_become_days(prepare):
    cells = ["1970-01-02", "1971-01-01 12:00"] * (ROWS // 2)
    _, x, *_ = prepare({"day": cells, "kind": KINDS}, "--target", "kind", "--date", "day")
    assert x[:2, 0].tolist() == [1.0, 365.5]
    assert 'line 2: "day" is "1970-01-02", no date of the form %d' in prepare(
        {"day": cells, "kind": KINDS}, "--target", "kind", "--date", "day=%d"
    )


def test_several_labels_by_columns_or_in_a_cell(prepare):
    words = ["rock", "jazz", "live"]
    hot = RNG.integers(0, 2, (ROWS, 3))
    for columns in (
        {word: hot[:, n] for n, word in enumerate(words)},
        {word: np.where(hot[:, n], "yes", "No") for n, word in enumerate(words)},
    ):
        targets = [option for word in words for option in ("--target", word)]
        _, x, y, _, attrs = prepare({"size": SIZES, **columns}, *targets)
        assert y.dtype == np.uint8 and (y == hot).all() and attrs["class_names"].tolist() == words
    cells = [";".join(word for word, one in zip(words, row, strict=True) if one) for row in hot]
    assert "--separator ';'" in prepare(
        {"size": SIZES, "tags": [cell or "live" for cell in cells]}, "--target", "tags"
    )
    printed, x, y, _, attrs = prepare({"size": SIZES, "tags": cells}, "--target", "tags", "--separator", ";")
    order = [words.index(name) for name in attrs["class_names"]]
    assert (y == hot[:, order]).all() and "3 labels of each row" in printed


def test_whole_numbers_that_pandas_writes_as_floats_are_classes(prepare):
    printed, _, y, _, attrs = prepare(
        {"size": SIZES, "kind": np.where(SIZES > 8, 1.0, 0.0)}, "--target", "kind"
    )
    assert attrs["class_names"].tolist() == ["0", "1"] and (y == (SIZES > 8)).all()
    assert "balanced_accuracy" in printed


@pytest.mark.parametrize("distinct, classes", [(8, True), (40, True), (41, False), (ROWS, False)])
def test_whole_numbers_of_few_rows_each_are_amounts(prepare, distinct, classes):
    _, _, y, _, _ = prepare({"size": SIZES, "n": np.arange(ROWS) % distinct + 3}, "--target", "n")
    assert (y.dtype.kind == "u") == classes


def test_how_a_text_is_written(prepare):
    lines = [
        "measured by us",
        "größe;kind",
        *(f"{size:.3f};{kind}".replace(".", ",") for size, kind in zip(SIZES, KINDS, strict=True)),
    ]
    options = "--target", "kind", "--decimal", ",", "--skip-lines", "1"
    content = "\n".join(lines).encode("latin-1")
    assert "--encoding latin-1" in prepare(None, *options, content=content)
    _, x, _, attrs, _ = prepare(None, *options, "--encoding", "latin-1", content=content)
    assert np.allclose(x[:, 0], SIZES) and attrs["columns"].tolist() == ["größe"]
    content = "\n".join(f"  {size}   {kind} " for size, kind in zip(SIZES, KINDS, strict=True))
    assert "--no-header" in prepare(None, "--target", "2", content=content)
    assert np.allclose(prepare(None, "--target", "2", "--no-header", content=content)[1][:, 0], SIZES)


def test_a_comment_above_the_names_is_told(prepare):
    content = "# ours\nsize,kind\n" + "".join(f"{a},{b}\n" for a, b in zip(SIZES, KINDS, strict=True))
    assert "--skip-lines 1" in prepare(None, "--target", "kind", content=content)
    assert prepare(None, "--target", "kind", "--skip-lines", "1", content=content)[1].shape == (ROWS, 1)


def test_classes_of_few_rows_give_rows_for_test_too(prepare):
    kinds = [f"k{n % 50}" for n in range(ROWS)]
    _, x, y, *_ = prepare({"size": SIZES, "kind": kinds}, "--target", "kind", "--test-fraction", "0.1")
    assert len(x) == ROWS - 20 and np.bincount(y).min() == 3


def test_without_a_target_the_columns_are_named(prepare):
    assert "--target NAME; it has size or kind" in prepare({"size": SIZES, "kind": KINDS})


@pytest.mark.parametrize(
    "content, said",
    [
        (b'{"a": 1}\n', "is JSON"),
        (b"\x80\x04\x95", "pickle"),
        (b"\x89HDF\r\n\x1a\n", "prepare hdf5"),
        (b"PK\x03\x04", "prepare npz"),
        (b"\x93NUMPY", "prepare npz"),
        (b"@relation x", "ARFF"),
        (b"SQLite format 3\0", "SQLite"),
        (b"\x89PNG", "prepare images"),
    ],
)
def test_a_file_of_another_format_is_told(prepare, content, said):
    assert said in prepare(None, "--target", "a", content=content)
