"""Estimators that train on ranks, as a user's program starts them."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn", "1.6")

from sklearn.datasets import load_iris

import dbmpi
from scripts.launcher import Environment
from scripts.processes import wait_for_none
from tests import ROOT

X, Y = load_iris(return_X_y=True)


@pytest.mark.both_mpis
@pytest.mark.beside
def test_a_fit_on_ranks_says_what_is_wrong_or_learns(environment: Environment) -> None:
    model = dbmpi.Classifier((16,), max_iter=30, random_state=1, ranks=3, threads=1)
    assert model.fit(X, Y).score(X, Y) > 0.9 and model.n_iter_ == 30
    np.testing.assert_array_equal(
        dbmpi.load(model.run_dir_).predict(X), [str(one) for one in model.predict(X)]
    )
    with pytest.raises(ValueError, match="at least 3 ranks"):
        model.set_params(ranks=2).fit(X, Y)
    assert model.score(X, Y) > 0.9


@pytest.mark.both_mpis
def test_an_interrupt_stops_the_ranks_and_leaves_what_was_learned(
    environment: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OF_THIS_TEST", str(tmp_path))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a program may have run here
    model = dbmpi.Classifier((4,), max_iter=10**6, ranks=4, run_dir=tmp_path / "run")
    model.set_params(config={"output.every_s": 0.01, "cluster.partitions": 2, "train.max_time": 60})

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
    signal.signal(signal.SIGINT, before)
    assert list(model.classes_) == [0, 1, 2] and model.predict(X).shape == Y.shape
    assert not wait_for_none(str(tmp_path), 10.0)


def test_ranks_end_with_the_process_that_has_started_them(tmp_path: Path) -> None:
    text = (
        "import numpy as np, dbmpi; x = np.arange(200.0)[:, None]; "
        "dbmpi.Regressor((4,), max_iter=10**7, ranks=3, threads=1, run_dir='run', "
        "config={'output.every_s': 0.01, 'train.max_time': 60}).fit(x, x[:, 0])"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OF_THIS_TEST": str(tmp_path)}
    user = subprocess.Popen([sys.executable, "-c", text], cwd=tmp_path, env=env)
    records = tmp_path / "run" / "metrics.jsonl"
    while user.poll() is None and (not records.exists() or "train" not in records.read_text()):
        time.sleep(0.02)
    user.kill()
    assert user.wait() == -signal.SIGKILL
    assert not wait_for_none(str(tmp_path), 20.0)
