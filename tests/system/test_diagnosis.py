"""The verdict on whole runs: a strong ill is named, and of a healthy run nothing is said."""

from dbmpi.diagnosis.verdict import findings
from dbmpi.logs.run import open_run
from tests.system.reading import QUIET

BUSY = {"cores"}  # a machine that does something else as well is one


def alarms(path):
    return {one.about: one for one in findings(open_run(path)) if one.alarms and one.about not in BUSY}


def test_a_rate_that_is_far_too_high_is_named_with_its_key(launch, tmp_path):
    settings = ["train.epochs=5", "downpour.learning_rate=50", "cluster.replicas=2"]
    assert launch(4, "--run-dir", "run", "--set", *settings, *QUIET).status in (0, 3)
    found = alarms(tmp_path / "run")
    assert found["rate"].severity == "bad" and "downpour.learning_rate" in found["rate"].remedy
    assert found["learning"].severity == "bad"


def test_pushes_that_are_rare_make_gradients_old(launch, tmp_path):
    settings = ["train.epochs=20", "downpour.n_fetch=40", "downpour.n_push=40", "cluster.replicas=2"]
    assert launch(4, "--run-dir", "run", "--set", *settings, *QUIET).status in (0, 3)
    assert "staleness" in alarms(tmp_path / "run")


def test_nothing_is_said_of_a_healthy_run(launch, tmp_path):
    assert launch(0, "--run-dir", "run", *QUIET).status == 0
    assert alarms(tmp_path / "run") == {}
