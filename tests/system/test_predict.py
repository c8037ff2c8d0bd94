"""`python -m dbmpi.predict` and `dbmpi.evaluate` under mpirun: as alone, and whole or not at all."""

import json
import os
import signal
import time

import h5py
import numpy as np
import pytest

from dbmpi import train
from dbmpi.data import digits
from dbmpi.inference.prediction import outputs
from dbmpi.trained import answers
from dbmpi.trained.opening import open_model
from scripts.chaos.victims import by_rank
from tests.system.reading import messages, one_message

MODELS = {
    "dense": ["model.layers.0.units=37"],
    "image": [
        'model.layers=[{type="conv", filters=5, size=3, padding=1, activation="relu"}, '
        '{type="local", filters=4, size=3, activation="relu"}, {type="pool", size=2, stride=2}, '
        '{type="dense", units=10}]'
    ],
}
ROWS_OF = {"dense": "rows.csv", "image": "rows.h5"}
ROWS = 3000


def made(folder, model):
    """Make a run and rows, as HDF5 and as a table, in a directory."""
    settings = ["train.epochs=3", "output.progress=none", *MODELS[model]]
    assert train.main(["--set", *settings, "--run-dir", str(folder / "run")]) == 0
    with h5py.File(digits.path()) as file, h5py.File(folder / "rows.h5", "w") as out:
        at = np.random.default_rng(1).integers(0, len(file["train/x"]), ROWS)
        out["x"], out["y"] = file["train/x"][:][at], file["train/y"][:][at]
        out["x"].attrs["scale"] = file["train/x"].attrs["scale"]
        flat = out["x"][:].reshape(ROWS, -1)
    header = ",".join(f"p{number}" for number in range(flat.shape[1]))
    lines = [header, *(",".join(map(str, row)) for row in flat.tolist())]
    (folder / "rows.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def dense(tmp_path_factory):
    """A directory with a run and rows."""
    return made(tmp_path_factory.mktemp("dense"), "dense")


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """The same of an image network."""
    return made(tmp_path_factory.mktemp("image"), "image")


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.both_mpis
def test_two_replicas_of_two_partitions_say_what_one_process_says(launch, request, model):
    place = request.getfixturevalue(model)
    with open_model(place / "run") as trained, h5py.File(place / "rows.h5") as file:
        expected = answers.probabilities(outputs(trained, file["x"][:]), trained.network.loss)
        true = file["y"][:]
    tied = np.diff(np.sort(expected)[:, -2:]).ravel() < 1e-5
    done = launch(4, "run", ROWS_OF[model], "out.h5", "--partitions", 2, module="dbmpi.predict", cwd=place)
    assert (done.status, messages(done)) == (0, [])
    with h5py.File(place / "out.h5") as out:
        np.testing.assert_allclose(out["probabilities"], expected, rtol=0, atol=1e-6)
        assert (tied | (out["class"][:] == expected.argmax(axis=1))).all()
    done = launch(4, "run", "rows.h5", "--partitions", 2, "--json", module="dbmpi.evaluate", cwd=place)
    found = json.loads(done.out)
    matrix = np.zeros((10, 10), int)
    np.add.at(matrix, (true, expected.argmax(axis=1)), 1)
    assert found["rows"] == ROWS and np.abs(found["confusion"] - matrix).sum() <= 2 * tied.sum()
    assert found["accuracy"] == pytest.approx(np.mean(expected.argmax(axis=1) == true), abs=tied.mean())


def long_table(path, rows=400_000):
    """Write a table that takes a while."""
    with path.open("w") as out:
        out.write(",".join(f"p{number}" for number in range(64)) + "\n")
        out.writelines([",".join("7" * 64) + "\n"] * rows)


def when_writing(folder, act):
    """Return what acts on the processes of a job once it has begun to write."""

    def during(processes):
        while not list(folder.glob(".out*.tmp")):
            time.sleep(0.02)
        act(processes())

    return during


def test_a_rank_that_dies_leaves_no_half_file(launch, dense, tmp_path):
    long_table(tmp_path / "long.csv")
    kill = when_writing(tmp_path, lambda found: os.kill(by_rank(found)[1], signal.SIGKILL))
    words = (dense / "run", "long.csv", "out.h5")
    done = launch(3, *words, module="dbmpi.predict", during=kill, timeout=60)
    assert done.status not in (0, 2) and "Traceback" not in done.err
    assert not (tmp_path / "out.h5").exists()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 85), (signal.SIGINT, 130)])
def test_a_signal_ends_it_in_one_line(launch, dense, tmp_path, number, status):
    long_table(tmp_path / "long.csv")

    def tell(found):
        for process in found:
            os.kill(process, number)

    words = (dense / "run", "long.csv", "out.csv")
    during = when_writing(tmp_path, tell)
    done = launch(0, *words, module="dbmpi.predict", during=during, timeout=60)
    assert done.status == status and len(done.err.splitlines()) == 1
    assert [one.name for one in tmp_path.iterdir()] == ["long.csv"]


def test_a_bad_row_and_a_mistake_under_mpirun_are_one_message(launch, dense, tmp_path):
    with h5py.File(tmp_path / "odd.h5", "w") as file:
        file["x"] = np.full((5000, 8, 8), 300.0)
        file["x"].attrs["scale"] = 1 / 16
    done = launch(3, dense / "run", "odd.h5", "out.csv", module="dbmpi.predict")
    assert done.status == 2
    one_message(done, "odd.h5: x", "uint8")
    (tmp_path / "odd.csv").write_text(",".join(f"p{n}" for n in range(64)) + "\n" + "nan," * 63 + "1\n")
    done = launch(2, dense / "run", "odd.csv", "out.csv", module="dbmpi.predict")
    assert done.status == 2
    one_message(done, "odd.csv: line 2", "p0")
    assert not (tmp_path / "out.csv").exists()
