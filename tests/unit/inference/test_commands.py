"""`python -m dbmpi.evaluate` and `python -m dbmpi.predict` in one process: files in and out, and mistakes."""

import csv
import io
import json
from pathlib import Path

import h5py
import numpy as np
import pytest

import dbmpi
from dbmpi import evaluate, predict
from dbmpi.data import digits
from dbmpi.export.command import main as export
from dbmpi.inference.output import output
from dbmpi.inference.prediction import outputs
from dbmpi.prepare.command import main as prepare
from dbmpi.trained import answers
from dbmpi.trained.opening import open_model
from tests.unit.inference.test_figures import task, trained_on

NAMES = ["a cat", 'a "dog", big', "bird"]
RNG = np.random.default_rng(2)
X = RNG.normal(size=(500, 4)).astype(np.float32)
Y = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0.5)


def write(path: Path, groups: dict[str, slice], y: np.ndarray = Y, names: list[str] | None = None) -> Path:
    """Write rows of the table as a data file."""
    with h5py.File(path, "w") as file:
        for group, rows in groups.items():
            file[f"{group}/x"], file[f"{group}/y"] = X[rows], y[rows]
            if names is not None:
                file[f"{group}/y"].attrs["class_names"] = names
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run on a table of three named classes."""
    folder = tmp_path_factory.mktemp("table")
    data = write(folder / "data.h5", {"train": slice(400), "test": slice(400, 500)}, names=NAMES)
    return trained_on(folder, f"data.path={json.dumps(str(data))}", "data.scaling=columns")


@pytest.fixture(scope="module")
def expected(run) -> np.ndarray:
    """Probabilities of all rows."""
    with open_model(run) as trained:
        return answers.probabilities(outputs(trained, X), trained.network.loss)


def rows_of(text: str) -> tuple[list[str], list[list[str]]]:
    header, *rows = csv.reader(io.StringIO(text))
    return header, rows


def write_csv(path: Path, header: str = "a,b,c,d\n", x: np.ndarray = X) -> Path:
    path.write_text(header + "".join(",".join(map(repr, row)) + "\n" for row in x.tolist()))
    return path


def test_csv_in_and_out_have_names_and_probabilities(run, expected, tmp_path, monkeypatch):
    monkeypatch.setattr("dbmpi.prepare.delimited.BLOCK_BYTES", 4000)
    data, out = write_csv(tmp_path / "x.csv"), tmp_path / "out.csv"
    assert predict.main([str(run), str(data), str(out), "--all"]) == 0
    header, rows = rows_of(out.read_text())
    assert header == ["class", "probability", *NAMES]
    np.testing.assert_allclose([[float(one) for one in row[2:]] for row in rows], expected, atol=1e-6)
    assert [row[0] for row in rows] == [NAMES[at] for at in expected.argmax(axis=1)]
    assert predict.main([str(run), str(data), str(out)]) == 0  # replaces it
    assert rows_of(out.read_text())[0] == ["class", "probability"]
    assert sorted(one.name for one in tmp_path.iterdir()) == ["out.csv", "x.csv"]


@pytest.mark.parametrize("kind", ["named columns", "no header", "npz", "hdf5", "hdf5 by name", "float64"])
@pytest.mark.parametrize("out", ["out.h5", "out.npz"])
def test_every_kind_of_input_says_the_same(run, expected, tmp_path, kind, out):
    words = []
    if kind == "named columns":
        mixed = np.column_stack([X[:, 3], X[:, 0], X[:, 1], X[:, 2], Y])
        path = write_csv(tmp_path / "x.csv", "d,a,b,c,kind\n", mixed)
        words = ["--inputs", "a,b,c,d"]
    elif kind == "no header":
        path, words = write_csv(tmp_path / "x.csv", ""), ["--no-header"]
    elif kind == "npz":
        path = tmp_path / "x.npz"
        np.savez_compressed(path, x=X, y=Y)
    else:
        path, name = tmp_path / "x.h5", "deep/er" if "name" in kind else "x"
        words = ["--inputs", name] if "name" in kind else []
        with h5py.File(path, "w") as file:
            file[name] = X.astype(np.float64) if kind == "float64" else X
    assert predict.main([str(run), str(path), str(tmp_path / out), *words]) == 0
    found = (
        np.load(tmp_path / out)
        if out.endswith("z")
        else {name: one[()] for name, one in h5py.File(tmp_path / out).items()}
    )
    np.testing.assert_allclose(found["probabilities"], expected, atol=1e-6)
    np.testing.assert_array_equal(found["class"], expected.argmax(axis=1))
    np.testing.assert_allclose(found["probability"], expected.max(axis=1), atol=1e-6)


def test_without_standard_output_nothing_is_computed(run, tmp_path, capfd, monkeypatch):
    data = write_csv(tmp_path / "x.csv")
    monkeypatch.setattr("sys.stdout", None)  # as by >&-
    assert predict.main([str(run), str(data), "-"]) == 2
    assert predict.main([str(run), str(data), str(tmp_path / "out.csv")]) == 0
    said = capfd.readouterr()
    assert "error: there is no standard output" in said.err and not said.out


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"a,b,c,d\n1,2,\xe9,4\n", "line 2: is not text in UTF-8; save it so"),
        ("a,b,c,d\n1,2,3,4\n".encode("utf-16"), "holds a NUL, which no text does; mend it"),
        (b"# a,b,c,d\n1,2,3,4\n", "begins with #: take the line out, or add --header if it has the names"),
    ],
)
def test_messages_name_no_options_of_others(run, tmp_path, capfd, content, text):
    (tmp_path / "x.csv").write_bytes(content)
    assert predict.main([str(run), str(tmp_path / "x.csv"), "-"]) == 2
    assert capfd.readouterr().err.endswith(f"{text}\n")


def figures(capfd, *words: object) -> dict:
    capfd.readouterr()
    assert evaluate.main([*map(str, words), "--json"]) == 0
    found: dict = json.loads(capfd.readouterr().out)
    return found


def test_evaluate_takes_the_test_set_or_another_split_or_file(run, expected, tmp_path, capfd):
    said = json.loads((run / "summary.json").read_text())
    own = figures(capfd, run)
    assert (own["split"], own["rows"]) == ("test", 100)
    for name in ("accuracy", "loss", "balanced_accuracy"):
        assert own[name] == pytest.approx(said[f"test_{name}"], rel=1e-6)
    assert [one["name"] for one in own["classes"]] == NAMES
    right = expected.argmax(axis=1) == Y
    assert figures(capfd, run, "--split", "train")["accuracy"] == pytest.approx(right[:400].mean())
    texts = np.array([name.encode() for name in NAMES])[Y]
    with h5py.File(tmp_path / "texts.h5", "w") as file:  # without groups; two classes only, in another order
        file["pixels"], file["kind"] = X[Y > 0], texts[Y > 0]
    found = figures(capfd, run, tmp_path / "texts.h5", "--inputs", "pixels", "--targets", "kind")
    assert (found["split"], found["rows"]) == ("all", (Y > 0).sum())
    assert found["accuracy"] == pytest.approx(right[Y > 0].mean())
    with h5py.File(tmp_path / "one-hot.h5", "w") as file:
        file["x"], file["y"] = X, np.eye(3, dtype=int)[Y]
    assert figures(capfd, run, tmp_path / "one-hot.h5")["accuracy"] == pytest.approx(right.mean())
    assert evaluate.main([str(run)]) == 0
    shown = capfd.readouterr().out
    assert "taken for" in shown and 'a \\"dog\\", big' in shown


def test_evaluate_takes_a_table_and_the_column_of_the_class(run, expected, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr("dbmpi.prepare.delimited.BLOCK_BYTES", 4000)
    path = tmp_path / "x.csv"
    with path.open("w") as file:
        rows = ([NAMES[label], *row] for label, row in zip(Y, X.tolist(), strict=True))
        csv.writer(file).writerows([["kind", "a", "b", "c", "d"], *rows])
    found = figures(capfd, run, path, "--targets", "kind")
    assert (found["split"], found["rows"]) == ("all", len(X))
    assert found["accuracy"] == pytest.approx((expected.argmax(axis=1) == Y).mean())
    assert figures(capfd, run, path, "--targets", "kind", "--inputs", "a,b,c,d") == found
    assert dbmpi.load(run).evaluate(path, "kind")["accuracy"] == found["accuracy"]


@pytest.mark.parametrize("kind", ["labels", "targets"])
def test_evaluate_takes_a_table_and_the_columns_of_targets(tmp_path, capfd, kind):
    path = task(tmp_path, kind)
    loss = "model.loss=logistic" if kind == "labels" else "model.loss=squared"
    run = trained_on(tmp_path, f"data.path={json.dumps(str(path))}", loss, "train.epochs=2")
    with h5py.File(path) as file:
        rows = np.column_stack([file["test/y"][()].astype(float), file["test/x"][()]])
    np.savetxt(tmp_path / "x.csv", rows, delimiter=",", header="u,v,w,a,b,c,d,e", comments="", fmt="%.17g")
    found = figures(capfd, run, tmp_path / "x.csv", "--targets", "u,v,w")
    own = figures(capfd, run)
    assert found["rows"] == own["rows"] == 100 and found["loss"] == pytest.approx(own["loss"], rel=1e-5)
    with (tmp_path / "x.csv").open("a") as file:
        file.write("2,nan,1,1,1,1,1,1\n")
    assert evaluate.main([str(run), str(tmp_path / "x.csv"), "--targets", "u,v,w"]) == 2
    assert 'line 102: column v is "nan"' in capfd.readouterr().err


@pytest.mark.parametrize(
    ("cells", "words", "text"),
    [
        ("a cat,1,2,3,4", [], "what is right stands in 1 column, but --targets names none"),
        ("a cat,1,2,3,4", ["--targets", "kind,a"], "names 2"),
        ("a cat,1,2,3,4", ["--targets", "kin"], 'did you mean "kind"'),
        (
            "cat,1,2,3,4",
            ["--targets", "kind"],
            'line 2: column kind is "cat", but the model tells apart',
        ),
        ("a cat,1,2,3", ["--targets", "kind"], "line 2: has 4 cells"),
        ("", ["--targets", "kind"], "has no rows"),
        ("a cat,1,2,3,4", ["--targets", "kind", "--split", "test"], "has no splits"),
    ],
)
def test_a_table_that_cannot_be_evaluated_is_one_message(run, tmp_path, capfd, cells, words, text):
    (tmp_path / "x.csv").write_text(f"kind,a,b,c,d\n{cells}\n")
    assert evaluate.main([str(run), str(tmp_path / "x.csv"), *words]) == 2
    said = capfd.readouterr().err
    assert text in said and said.count("\n") == 1


def test_data_that_are_gone_are_one_message(run, capfd):
    path = run.parent / "data.h5"
    path.rename(run.parent / "away.h5")
    try:
        assert evaluate.main([str(run)]) == 2
        assert "name a data file" in capfd.readouterr().err
    finally:
        (run.parent / "away.h5").rename(path)


def test_what_was_cut_for_the_run_is_what_is_evaluated(tmp_path, capfd):
    with h5py.File(tmp_path / "own.h5", "w") as file:
        file["images"], file["kinds"] = X, Y + 5
    path = json.dumps(str(tmp_path / "own.h5"))
    run = trained_on(tmp_path, f"data.path={path}", "data.inputs=images", "data.targets=kinds",
                     "data.test_fraction=0.2", "data.validation_fraction=0.1", "train.epochs=1")  # fmt: skip
    said = json.loads((run / "summary.json").read_text())
    for words in ((), (tmp_path / "own.h5",)):  # the same file by its name
        assert figures(capfd, run, *words)["accuracy"] == pytest.approx(said["test_accuracy"])
    for checkpoint in (run / "checkpoints").iterdir():
        assert figures(capfd, checkpoint)["rows"] == 100
    assert figures(capfd, run, "--split", "validation")["rows"] == 50
    assert predict.main([str(run), str(tmp_path / "own.h5"), str(tmp_path / "o.h5")]) == 0
    assert len(h5py.File(tmp_path / "o.h5")["class"]) == 500  # type: ignore[arg-type]


@pytest.mark.parametrize("loss", ["logistic", "squared"])
def test_labels_and_targets_are_written_as_they_are(tmp_path, loss):
    y = np.column_stack([X[:, 0] > 0, X[:, 1] > 0]).astype(np.int8) if loss == "logistic" else X[:, :2] * 50
    data = write(tmp_path / "data.h5", {"train": slice(400), "test": slice(400, 500)}, y)
    run = trained_on(tmp_path, f"data.path={json.dumps(str(data))}", "data.scaling=columns", "train.epochs=9")
    with open_model(run) as trained:
        z = outputs(trained, X[400:])
        wanted = answers.labels(z) if loss == "logistic" else answers.targets(z, trained.format)
    for out in ("out.h5", "out.csv"):
        assert predict.main([str(run), str(data), str(tmp_path / out)]) == 0
    header, rows = rows_of((tmp_path / "out.csv").read_text())
    with h5py.File(tmp_path / "out.h5") as file:
        stored = file["labels" if loss == "logistic" else "y"][()]
    np.testing.assert_allclose(stored, wanted, rtol=1e-5)
    if loss == "logistic":
        assert header == ["labels"]
        assert [row[0] for row in rows] == [";".join(map(str, np.flatnonzero(one))) for one in wanted]
    else:
        assert header == ["y0", "y1"]
        np.testing.assert_allclose([[float(one) for one in row] for row in rows], wanted, rtol=1e-5)


def spoilt(folder: Path, what: str) -> list[object]:
    """Return the words of a command that is a mistake, after the run."""
    out = folder / "out.csv"
    if what == "nan in a table":
        x = X.copy()
        x[300, 2] = np.nan
        return [write_csv(folder / "x.csv", x=x), out]
    if what == "nan in hdf5":
        with h5py.File(folder / "x.h5", "w") as file:
            file["x"] = np.where(np.arange(500)[:, None] == 300, np.inf, X)
        return [folder / "x.h5", out]
    if what == "too few columns":
        return [write_csv(folder / "x.csv", "a,b,c\n", X[:, :3]), out]
    if what == "text":
        (folder / "x.csv").write_text("a,b,c,d\n1,2,3,4\n1,2,red,4\n")
        return [folder / "x.csv", out]
    if what == "ragged":
        (folder / "x.csv").write_text("a,b,c,d\n1,2,3,4\n1,2,3\n")
        return [folder / "x.csv", out]
    if what == "names of npz":
        np.savez(folder / "x.npz", first=X, second=X)
        return [folder / "x.npz", out]
    if what == "empty npz":
        np.savez(folder / "x.npz")
        return [folder / "x.npz", out]
    if what == "shape of npz":
        np.savez(folder / "x.npz", x=X[:, :2])
        return [folder / "x.npz", out]
    with h5py.File(folder / "x.h5", "w") as file:
        file["x"] = X
    words = {
        "name of hdf5": [folder / "x.h5", out, "--inputs", "z"],
        "split": [folder / "x.h5", out, "--split", "train"],
        "same file": [folder / "x.h5", folder / "x.h5"],
        "split of a table": [write_csv(folder / "x.csv"), out, "--split", "test"],
        "numbers for names": [write_csv(folder / "x.csv", ""), out],
        "no kind": [folder / "x.h5", folder / "out.txt"],
        "no folder": [folder / "x.h5", folder / "none" / "out.csv"],
        "no file": [folder / "none.h5", out],
        "no option": [folder / "x.h5", out, "--everything"],
        "partitions": [folder / "x.h5", out, "--partitions", "2"],
    }
    return words[what]


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("nan in a table", "line 302"),
        ("nan in hdf5", "row 300"),
        ("too few columns", "3 columns, but the model reads 4"),
        ("text", 'line 3: column c is "red"'),
        ("ragged", "line 3: has 3 cells"),
        ("names of npz", "first or second"),
        ("empty npz", "holds no arrays"),
        ("shape of npz", "reads (N, 4)"),
        ("name of hdf5", "no data set 'z', only x"),
        ("split", "no splits"),
        ("split of a table", "leave out --split test"),
        ("numbers for names", "--no-header, or --header"),
        ("same file", "would be lost"),
        ("no kind", "end it with"),
        ("no folder", "make it first"),
        ("no file", "no such file"),
        ("no option", "unrecognized"),
        ("partitions", "start 2"),
    ],
)
def test_a_mistake_is_one_message_and_leaves_nothing(run, tmp_path, capfd, what, text):
    words = [str(run), *map(str, spoilt(tmp_path, what))]
    there = sorted(tmp_path.iterdir())
    assert predict.main(words) == 2
    said = capfd.readouterr().err.strip().splitlines()
    assert len(said) == 1 and said[0].startswith("dbmpi: error: ") and text in said[0]
    assert sorted(tmp_path.iterdir()) == there


def stored(path: Path, x: np.ndarray, y: np.ndarray, **attributes: object) -> Path:
    with h5py.File(path, "w") as file:
        file["x"], file["y"] = x, y
        for name, value in attributes.items():
            file["x" if name == "scale" else "y"].attrs[name] = value
    return path


@pytest.mark.parametrize(
    ("x", "y", "more", "text"),
    [
        (X, Y + 1, {}, "label 3"),
        (X, X[:, 0], {}, "computes labels"),
        (X, np.array([b"wolf"] * 500), {}, "holds \"wolf\" in row 0, which is no class"),
        (X, np.full((500, 3), 1), {}, "not one-hot"),
        (X[:, :3], Y, {}, "has shape"),
        (X.astype(np.uint8), Y, {}, "learned from float32"),
        (X, Y, {"class_names": NAMES[::-1]}, "another order"),
        (X[:400], Y, {}, "500 rows"),
    ],
)  # fmt: skip
def test_data_for_another_model_are_one_message(run, tmp_path, capfd, x, y, more, text):
    assert evaluate.main([str(run), str(stored(tmp_path / "x.h5", x, y, **more))]) == 2
    said = capfd.readouterr().err.strip().splitlines()
    assert len(said) == 1 and said[0].startswith("dbmpi: error: ") and text in said[0]


def test_pixels_on_another_scale_are_refused(tmp_path, capfd):
    run = trained_on(tmp_path, "train.epochs=1")
    with h5py.File(digits.path()) as file:
        x, y = file["test/x"][:], file["test/y"][:]
    for number, (pixels, more) in enumerate([(x / 16, {}), (x, {"scale": 1.0}), (x.astype("f4"), {})]):
        assert evaluate.main([str(run), str(stored(tmp_path / f"{number}.h5", pixels, y, **more))]) == 2
        assert "learned from uint8" in capfd.readouterr().err
    np.savez(tmp_path / "x.npz", x=x / 16)
    assert predict.main([str(run), str(tmp_path / "x.npz"), str(tmp_path / "o.csv")]) == 2
    assert "whole numbers from 0 to 255" in capfd.readouterr().err


def test_two_that_write_one_file_at_once_do_not_mix(run, tmp_path):
    path = tmp_path / "out.csv"
    (tmp_path / ".out.csv.12345678.tmp").touch()  # as a kill has left it
    with open_model(run) as trained:
        out = output(path, trained, False)
    with out.writing() as first:
        first(b"a,1\n")
        with out.writing() as second:
            second(b"b,1\n" * 3)
        assert path.read_text() == "class,probability\n" + "b,1\n" * 3
        first(b"a,1\n")
    assert path.read_text() == "class,probability\na,1\na,1\n"
    assert [one.name for one in tmp_path.iterdir()] == ["out.csv"]


def test_who_has_seen_enough_ends_the_work(run, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr("dbmpi.inference.output._printed", lambda header: lambda content: False)
    monkeypatch.setattr("dbmpi.inference.sizes.MOST_ROWS", 50)
    np.savez(tmp_path / "x.npz", x=X)
    assert predict.main([str(run), str(tmp_path / "x.npz"), "-"]) == 0
    assert "dbmpi: 50 rows" in capfd.readouterr().err


@pytest.mark.parametrize("place", range(3))
def test_names_that_no_system_looks_for_are_one_message(run, tmp_path, capfd, place):
    words = [str(run), str(write_csv(tmp_path / "x.csv")), str(tmp_path / "out.csv")]
    words[place] = f"{'a' * 5000}.csv"
    assert predict.main(words) == 2
    said = capfd.readouterr().err.strip().splitlines()
    assert len(said) == 1 and "File name too long" in said[0]


def test_columns_are_found_beside_texts_in_quotes(run, expected, tmp_path):
    lines = [f'"one, {row}",{",".join(map(repr, x))}\n' for row, x in enumerate(X.tolist())]
    (tmp_path / "x.csv").write_text("name,a,b,c,d\n" + "".join(lines))
    words = [str(run), str(tmp_path / "x.csv"), str(tmp_path / "out.h5"), "--inputs", "a,b,c,d"]
    assert predict.main(words) == 0
    with h5py.File(tmp_path / "out.h5") as file:
        np.testing.assert_allclose(file["probabilities"], expected, atol=1e-6)


@pytest.fixture(scope="module")
def of_table(tmp_path_factory) -> Path:
    """A run on a table that was prepared: two columns of numbers, one of texts."""
    folder = tmp_path_factory.mktemp("prepared")
    colours = ["red", "green=1", "blue"]
    lines = [f"{a:.9g},{colours[i % 3]},{b:.9g},{'yes' if (a > 0) == (i % 3 > 0) else 'no'}\n"
             for i, (a, b) in enumerate(X[:, :2].tolist())]  # fmt: skip
    (folder / "table.csv").write_text("length,colour,width,kind\n" + "".join(lines))
    words = ["table", "table.csv", "data.h5", "--target", "kind", "--keep-order", "--jobs", "1"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert prepare(words) == 0
    return trained_on(folder, f"data.path={json.dumps(str(folder / 'data.h5'))}", "train.epochs=40")


def classes_of(run: Path, *words: object) -> list[str]:
    out = run.parent / "out.csv"
    assert predict.main([str(run), *map(str, words[:1]), str(out), *map(str, words[1:])]) == 0
    return [row[0] for row in rows_of(out.read_text())[1]]


def test_a_table_is_read_by_the_names_of_its_columns(of_table, tmp_path):
    said = classes_of(of_table, of_table.parent / "table.csv")
    table = [line.split(",") for line in (of_table.parent / "table.csv").read_text().splitlines()]
    assert np.mean([one == row[3] for one, row in zip(said, table[1:], strict=True)]) > 0.85
    (tmp_path / "other.csv").write_text("".join(f"{c},{a},{b}\n" for a, b, c, _ in table))
    assert classes_of(of_table, tmp_path / "other.csv") == said
    quoted = "".join(f'{a},"{b}",{c},"x, y"\n' if at else "length,colour,width,kind\n"
                     for at, (a, b, c, _) in enumerate(table))  # fmt: skip
    (tmp_path / "quoted.csv").write_text(quoted)
    assert classes_of(of_table, tmp_path / "quoted.csv") == said
    names = [row if at else ["a", "b", "c", "d"] for at, row in enumerate(table)]
    (tmp_path / "names.csv").write_text("".join(",".join(row) + "\n" for row in names))
    inputs = "a,c,b=blue,b=green=1,b=red"
    assert classes_of(of_table, tmp_path / "names.csv", "--inputs", inputs) == said


def test_columns_go_with_the_model(of_table, tmp_path):
    columns = ("length", "width", "colour=blue", "colour=green=1", "colour=red")
    assert export([str(of_table), str(tmp_path / "a.safetensors")]) == 0
    for place in (of_table, of_table / "checkpoints", tmp_path / "a.safetensors"):
        last = sorted(place.iterdir())[-1] if place.name == "checkpoints" else place
        with open_model(last) as trained:
            assert tuple(trained.format.columns) == columns


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("length,colour,width\n1,red,2\n1,pink,2\n", 'line 3: column colour is "pink"'),
        ("length,colour,width\n1,red,2\n1,,2\n", 'line 3: column colour is ""'),
        ("length,colour,breadth\n1,red,2\n", 'no column "width"'),
        ("length,color,width\n1,red,2\n", 'no column "colour" (did you mean "color"?)'),
        ("length,colour,width\nlong,red,2\n", 'line 2: column length is "long"'),
    ],
)
def test_a_table_with_other_columns_or_texts_is_one_message(of_table, tmp_path, capfd, text, message):
    (tmp_path / "x.csv").write_text(text)
    assert predict.main([str(of_table), str(tmp_path / "x.csv"), "-"]) == 2
    assert message in capfd.readouterr().err
