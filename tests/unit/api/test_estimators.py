"""Estimators in a user's process: what they learn, what they leave alone, and how they are interrupted."""

import faulthandler
import gc
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn", "1.6")

from joblib.externals.loky import get_reusable_executor
from scipy.sparse import csr_matrix
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import dbmpi
from dbmpi.api.directory import RunDirectory
from tests import ROOT

X, Y = load_iris(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])[Y]


@pytest.fixture(scope="module")
def fitted() -> dbmpi.Classifier:
    return dbmpi.Classifier((16,), max_iter=40, random_state=1).fit(X, NAMES)


def test_classes_are_learned_by_their_names(fitted):
    assert fitted.score(X, NAMES) > 0.9 and list(fitted.classes_) == sorted(set(NAMES))
    assert fitted.n_features_in_ == 4 and fitted.n_iter_ == 40 and 0 < fitted.loss_ < 0.5
    model = dbmpi.load(fitted.run_dir_)
    assert model.classes == sorted(set(NAMES))
    np.testing.assert_array_equal(model.predict(X), fitted.predict(X))
    np.testing.assert_array_equal(model.predict_proba(X), fitted.predict_proba(X))


def test_an_answer_does_not_depend_on_the_other_rows(fitted):
    whole = fitted.predict_proba(X)
    np.testing.assert_array_equal(whole[7:9], fitted.predict_proba(X[7:9]))
    np.testing.assert_array_equal(whole[::-1], fitted.predict_proba(X[::-1]))


def test_several_targets_come_in_their_own_units():
    y = np.stack([1000 * X[:, 0], X[:, 1] - 5], axis=1)
    model = dbmpi.Regressor((16,), max_iter=60, random_state=1).fit(X, y)
    assert model.predict(X).shape == y.shape and model.score(X, y) > 0.9
    assert dbmpi.load(model.run_dir_).classes is None


def test_several_labels_may_be_right():
    y = np.stack([X[:, 0] > 5.8, X[:, 2] > 4], axis=1).astype(int)
    model = dbmpi.Classifier((16,), max_iter=60, random_state=1).fit(X, y)
    assert model.score(X, y) > 0.8 and model.predict_proba(X).shape == y.shape


def test_images_by_layers_and_the_best_model_of_a_validation():
    digits = load_digits()
    conv = {"type": "conv", "filters": 4, "size": 3, "activation": "relu"}
    model = dbmpi.Classifier(
        layers=[conv, {"type": "pool", "size": 2, "stride": 2}],
        scaling=None,
        early_stopping=True,
        max_iter=4,
        random_state=1,
    ).fit(digits.images.astype(np.uint8) * 15, digits.target)
    assert model.score(digits.images.astype(np.uint8) * 15, digits.target) > 0.85
    assert dict(model.model_.named_parameters())["layers.0.weight"].shape == (4, 3, 3, 1)
    assert model.model_.format.input_dtype == "uint8"


def test_weights_of_examples_and_of_classes_count():
    x, y = np.zeros((60, 1)), np.arange(60) % 2
    x[::7] = 1
    settings = {"max_iter": 20, "random_state": 1, "config": {"evaluation.every_epochs": 1}}
    by_row = dbmpi.Classifier(**settings).fit(x, y, sample_weight=np.where(y == 1, 9.0, 1.0))
    by_class = dbmpi.Classifier(class_weight={1: 9.0}, **settings).fit(x, y)
    for model in (by_row, by_class):
        assert model.predict_proba(x)[:, 1].mean() == pytest.approx(0.9, abs=0.05)
    assert dbmpi.Classifier(class_weight="balanced", **settings).fit(x, y).predict_proba(x).shape == (60, 2)


def test_frames_give_their_names():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=["a", "b", "c", "d"])
    model = make_pipeline(StandardScaler(), dbmpi.Classifier((16,), max_iter=1))
    model.set_output(transform="pandas").fit(frame, NAMES)
    assert list(model[-1].feature_names_in_) == ["a", "b", "c", "d"]


def test_pipelines_clones_and_cross_validation_in_processes():
    model = make_pipeline(StandardScaler(), dbmpi.Classifier((16,), max_iter=20, random_state=1)).fit(X, Y)
    assert not hasattr(clone(model)[-1], "model_")
    here = cross_val_score(model, X, NAMES, cv=2)
    elsewhere = cross_val_score(model, X, NAMES, cv=2, n_jobs=2)
    get_reusable_executor().shutdown(wait=True)
    assert here.mean() > 0.85 and here.tolist() == elsewhere.tolist()


def test_a_pickle_needs_no_run_directory(tmp_path):
    model = dbmpi.Classifier((16,), max_iter=5, random_state=1).fit(X, NAMES)
    (tmp_path / "model").write_bytes(pickle.dumps(model))
    np.save(tmp_path / "said.npy", model.predict_proba(X))
    shutil.rmtree(model.run_dir_)
    text = (
        "import pickle, numpy as np; from sklearn.datasets import load_iris; "
        "model = pickle.load(open('model', 'rb')); X = load_iris().data; "
        "assert (model.predict_proba(X) == np.load('said.npy')).all()"
    )
    subprocess.run([sys.executable, "-c", text], cwd=tmp_path, env=importing(), timeout=60, check=True)


def importing() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def test_a_temporary_directory_goes_with_its_estimator_and_one_of_a_name_stays(tmp_path):
    model = dbmpi.Classifier((4,), max_iter=1).fit(X, Y)
    copied, place = pickle.loads(pickle.dumps(model)), Path(model.run_dir_)
    assert (place / "model.h5").exists() and not (place / "data.h5").exists()
    del copied
    gc.collect()
    assert place.exists()
    del model
    gc.collect()
    assert not place.exists()
    for name in ("run", "run-2"):
        assert dbmpi.Classifier((4,), max_iter=1, run_dir=tmp_path / "run").fit(X, Y).run_dir_.endswith(name)
    assert (tmp_path / "run" / "data.h5").exists() and (tmp_path / "run-2" / "finished").exists()


def test_what_a_killed_process_has_left_goes_with_the_next_fit(tmp_path, monkeypatch):
    killed = "import os; from dbmpi.api.directory import RunDirectory as R; r = R(None); os.abort()"
    subprocess.run([sys.executable, "-c", killed], cwd=ROOT, env={**os.environ, "TMPDIR": str(tmp_path)})
    assert len([*tmp_path.iterdir()]) == 1
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    made = [RunDirectory(None) for _ in range(2)]
    assert {*tmp_path.iterdir()} == {one.path for one in made}


def state() -> dict[str, object]:
    """Return what belongs to the process, and not to a fit in it."""
    handlers = {name: signal.getsignal(name) for name in signal.valid_signals()}
    hooks = (sys.excepthook, threading.excepthook, sys.stdout, sys.stderr, faulthandler.is_enabled())
    collection = (gc.get_threshold(), gc.get_freeze_count())
    there = (sorted(os.listdir()), sorted(thread.name for thread in threading.enumerate()))
    return {
        "environment": dict(os.environ),
        "handlers": handlers,
        "hooks": hooks,
        "collection": collection,
        "there": there,
        "numpy": np.geterr(),
        "warnings": list(warnings.filters),
        "limit": threading.stack_size(),
    }


def test_a_fit_leaves_the_process_as_it_was(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    before = state()
    dbmpi.Classifier((4,), max_iter=2, threads=1).fit(X, Y)
    with pytest.raises(ValueError, match="rule"):
        dbmpi.Classifier(config={"downpour.rule": "none"}).fit(X, Y)
    assert state() == before
    assert capfd.readouterr() == ("", "")


def test_two_fits_side_by_side_are_as_each_alone():
    def learn(seed: int) -> np.ndarray:
        return dbmpi.Classifier((16,), max_iter=10, random_state=seed, threads=1).fit(X, Y).predict_proba(X)

    before = state()
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(learn, (1, 2, 3, 4)))
    for seed, found in enumerate(together, 1):
        np.testing.assert_array_equal(found, learn(seed))
    assert state() == before


@pytest.fixture
def interrupts() -> Iterator[None]:
    """Let SIGINT be KeyboardInterrupt, whatever tests of whole programs have left in this process."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("had", [False, True])
def test_an_interrupt_leaves_what_was_learned(tmp_path, had, interrupts):
    model = dbmpi.Classifier((4,), random_state=1)
    if had:
        model.fit(X, Y == 0)
    model.set_params(max_iter=10**6, run_dir=tmp_path / "run")
    model.set_params(config={"output.every_s": 0.01, "train.max_time": 60})

    def interrupt() -> None:
        records = tmp_path / "run" / "metrics.jsonl"
        while not records.exists() or "train" not in records.read_text():
            over.wait(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    over = threading.Event()
    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y)
    thread.join()
    assert list(model.classes_) == [0, 1, 2] and model.predict(X).shape == Y.shape
    assert model.run_dir_ == str(tmp_path / "run")


def test_an_interrupt_before_training_leaves_what_there_was(fitted, monkeypatch):
    from dbmpi.api import here

    def begin(*arguments: object) -> None:
        raise KeyboardInterrupt

    model = pickle.loads(pickle.dumps(fitted))
    monkeypatch.setattr(here.alone, "begin", begin)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X[:, :2], Y)
    monkeypatch.undo()
    assert model.score(X, NAMES) > 0.9


def test_what_is_wrong_is_one_exception():
    for config, text in (
        ({"train.epoch": 3}, "there is no such key"),
        ({"model.dtype": "float16"}, "model.dtype"),
        ({"train.initial": "absent.h5"}, "absent.h5"),
    ):
        with pytest.raises(ValueError, match=text):
            dbmpi.Classifier((4,), config=config).fit(X, Y)
    with pytest.raises(ValueError, match="run_dir"):  # and nothing is written beside the working directory
        dbmpi.Classifier((4,), run_dir="").fit(X, Y)
    diverging = {"downpour.rule": "sgd", "downpour.learning_rate": 1e4}
    with pytest.raises(RuntimeError, match="diverged"):
        dbmpi.Regressor((4,), activation="identity", config=diverging).fit(X, X[:, 0])


def test_progress_is_shown_by_the_calling_thread(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    settings = {"output.every_s": 0.001}
    dbmpi.Classifier((4,), max_iter=20, verbose=True, config=settings).fit(X, Y)
    said = capsys.readouterr().out
    assert "dbmpi: ended by epochs" in said and "%, loss" in said


def test_a_bar_where_tqdm_is_installed(capfd):
    pytest.importorskip("tqdm")
    dbmpi.Classifier((4,), max_iter=20, verbose=True, config={"output.every_s": 0.001}).fit(X, Y)
    out, error = capfd.readouterr()
    assert "ended by epochs" in out and "%|" in error


def test_numbers_of_numpy_are_numbers():
    model = dbmpi.Classifier(
        np.int64(3), batch_size=np.int64(8), max_iter=np.int32(2), threads=np.int64(1)
    ).fit(X, Y)
    assert dict(model.model_.named_parameters())["layers.0.weight"].shape == (3, 4)
    layers = [{"type": "dense", "units": np.int64(5)}]
    assert dbmpi.Regressor(layers=layers, max_iter=1).fit(X, Y).predict(X).shape == Y.shape


def test_labels_may_be_sparse():
    y = np.stack([X[:, 0] > 5.8, X[:, 2] > 4], axis=1).astype(int)
    model = dbmpi.Classifier((4,), max_iter=1, random_state=1)
    dense = model.fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(model.fit(X, csr_matrix(y)).predict_proba(X), dense)


@pytest.mark.parametrize(
    ("ranks", "launcher", "error", "text"),
    [
        (3, "no-such-launcher", RuntimeError, "no-such-launcher cannot be started"),
        (3, "true", RuntimeError, "has left no model"),
        (3, "false", RuntimeError, "status 1"),
        (3, " ", ValueError, "names no program"),
        (0, None, ValueError, "ranks = 0"),
        (1.5, None, ValueError, "ranks = 1.5"),
        (10**6, "no-such-launcher", ValueError, "ranks = 1000000 .* to 100000;"),
        (10**5, None, ValueError, "ranks = 100000 .* TB of its .* give fewer, or a launcher"),
    ],
)
def test_a_launcher_that_cannot_launch_is_one_exception(fitted, ranks, launcher, error, text):
    model = pickle.loads(pickle.dumps(fitted))
    with pytest.raises(error, match=text):
        model.set_params(ranks=ranks, launcher=launcher).fit(X, NAMES)
    assert model.score(X, NAMES) > 0.9


def test_ranks_that_cannot_be_leave_no_directory(tmp_path):
    with pytest.raises(ValueError, match="ranks"):
        dbmpi.Classifier(ranks=10**6, run_dir=tmp_path / "run").fit(X, Y)
    assert not [*tmp_path.iterdir()]


def test_classes_have_numbers_where_not_all_have_names(fitted, monkeypatch):
    model = pickle.loads(pickle.dumps(fitted.model_))
    object.__setattr__(model.format, "class_names", ("setosa",))
    assert model.classes == [0, 1, 2] and set(model.predict(X)) == {0, 1, 2}
