"""`prepare npz`, `mat` and `hdf5`: arrays under any names, and targets of any form."""

import h5py
import numpy as np
import pytest

from dbmpi.data.describe import describe
from dbmpi.prepare.command import main

RNG = np.random.default_rng(1)
X = RNG.normal(size=(300, 4))
Y = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0)


@pytest.fixture
def prepare(tmp_path, capsys):
    def run(kind, *arguments):
        status = main([kind, *map(str, arguments), str(tmp_path / "out.h5"), "--replace"])
        return status, capsys.readouterr()

    run.out = tmp_path / "out.h5"
    return run


def numpy_file(path, arrays):
    np.savez(path, **arrays)
    return "npz", path


def hdf5_file(path, arrays):
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array.astype("S") if array.dtype.kind == "U" else array
    return "hdf5", path


def matlab_file(path, arrays):
    """Write as MATLAB 7.3 does: the last axis first."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in arrays.items():
            file[name] = (array if array.ndim > 1 else array[:, None]).T
    return "mat", path


FORMS = {"npz": numpy_file, "h5": hdf5_file, "mat": matlab_file}


@pytest.mark.parametrize("form", FORMS)
def test_rows_stay_together(prepare, tmp_path, form):
    kind, path = FORMS[form](
        tmp_path / f"in.{form}", {"x_train": X, "y_train": Y, "x_test": X[:20], "y_test": Y[:20]}
    )
    assert prepare(kind, path)[0] == 0
    with h5py.File(prepare.out) as file:
        for split, rows in (("train", 300), ("test", 20)):
            x, y = file[split]["x"][()], file[split]["y"][()]
            assert np.array_equal(
                x[np.argsort(x[:, 0])], X[:rows][np.argsort(X[:rows, 0])].astype(np.float32)
            )
            assert np.array_equal(y, (x[:, 0] > 0).astype(int) + (x[:, 1] > 0))
    assert describe(prepare.out).class_names == ("0", "1", "2")


TARGETS = {
    "texts": (np.array(["zero", "one", "two"])[Y], ("one", "two", "zero"), [2, 0, 1]),
    "from 1, with gaps": (np.array([1, 5, 10])[Y], ("1", "5", "10"), [0, 1, 2]),
    "one-hot": (np.eye(3, dtype=int)[Y], None, [0, 1, 2]),
    "floats": (Y.astype(float), None, [0.0, 1.0, 2.0]),
}


@pytest.mark.parametrize("targets", TARGETS)
def test_targets(prepare, tmp_path, targets):
    y, names, places = TARGETS[targets]
    assert prepare(*numpy_file(tmp_path / "in.npz", {"X": X, "y": y}), "--test-fraction", "0")[0] == 0
    with h5py.File(prepare.out) as file:
        x, y = file["train/x"][()], file["train/y"]
        assert np.array_equal(y[()], np.array(places)[(x[:, 0] > 0).astype(int) + (x[:, 1] > 0)])
        assert tuple(y.attrs.get("class_names", ())) == (names or ())


def test_several_files_channels_first_and_groups(prepare, tmp_path):
    images = RNG.integers(0, 255, (40, 3, 5, 6), np.uint8)
    people = np.repeat(np.arange(10), 4)
    for number in range(2):
        rows = slice(20 * number, 20 * number + 20)
        numpy_file(
            tmp_path / f"{number}.npz", {"images": images[rows], "labels": Y[rows], "who": people[rows]}
        )
    pattern = tmp_path / "[0-9].npz"
    assert prepare("npz", pattern, "--channels-first", "--groups", "who", "--test-fraction", "0.2")[0] == 0
    with h5py.File(prepare.out) as file:
        assert file["train/x"].shape == (32, 5, 6, 3)
        of = {
            image.transpose(1, 2, 0).tobytes(): person for image, person in zip(images, people, strict=True)
        }
        train, test = ({of[row.tobytes()] for row in file[split]["x"]} for split in ("train", "test"))
        assert len(train) == 8 and not train & test


@pytest.mark.parametrize(
    "arrays, options, said",
    [
        ({"a": X, "b": Y}, [], "has a or b; say what is what"),
        ({"a": X, "b": Y}, ["--inputs", "a", "--targets", "c"], 'has no array "c"; it has a or b'),
        ({"x": X, "y": Y[:9]}, [], "y has 9 rows, but the inputs 300"),
        ({"x": np.where(X > 2, np.nan, X), "y": Y}, [], "nan is not finite, or beyond 1e+18; mend it"),
        ({"x": X, "y": np.where(X[:, 0] > 2, np.nan, X[:, 0])}, [], "nan is not finite, or beyond 1e+18"),
        ({"x": X[:0], "y": Y[:0]}, [], "no row to train with"),
        ({"x": X, "y": X[:, 0]}, ["--task", "classes"], "row 0: 0.345584192064786 is no whole number"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(prepare, tmp_path, arrays, options, said):
    status, printed = prepare(*numpy_file(tmp_path / "in.npz", arrays), *options)
    assert status == 2 and said in printed.err and printed.err.count("\n") == 1, printed.err
    assert not prepare.out.exists()


def test_a_damaged_file(prepare, tmp_path):
    _, path = numpy_file(tmp_path / "in.npz", {"x": X, "y": Y})
    path.write_bytes(path.read_bytes()[:-200])
    status, printed = prepare("npz", path)
    assert status == 2 and "in.npz: cannot be read" in printed.err and printed.err.count("\n") == 1
