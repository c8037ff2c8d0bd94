"""Records of real runs beyond their fields, which `reading.records` holds to the tables; TensorBoard."""

import os

import pytest

from tests import runner
from tests.doubles.event_files import events, scalars
from tests.system.reading import QUIET, one_message, records

BOARD = ("output.tensorboard=true", "--run-dir", "run")


def test_a_run_of_a_moment_has_a_curve(launch, tmp_path):
    """By time alone it would have one record: `output.every_s` is 1."""
    assert launch(0, *QUIET, "train.epochs=10", "--run-dir", "run").status == 0
    assert 3 <= len(records(tmp_path / "run", "train")) <= 200
    assert launch(0, *QUIET, "train.epochs=2", "output.every_examples=0", "--run-dir", "off").status == 0
    assert len(records(tmp_path / "off", "train")) <= 2


def test_tensorboard_has_the_numbers_of_all_records(launch, tmp_path):
    pytest.importorskip("tensorboardX", reason="tensorboardX is not installed")
    for ranks in (4, 0):  # the second job goes on
        assert launch(ranks, *QUIET, f"train.epochs={9 - ranks}", *BOARD).status == 0
    first, second = sorted((tmp_path / "run" / "tensorboard").iterdir(), key=lambda path: path.suffix)
    written = [one for path in (first, second) for one in events(path) if one.summary.value]
    kept = [one for one in records(tmp_path / "run") if one["kind"] in ("train", "eval", "shard")]
    found = [one for one in written if not scalars(one).keys() & {"checkpoint/number", "job/wall_s"}]
    assert [one.step for one in found if "replicas/interval_s" not in scalars(one)] == [
        one["step"] for one in kept
    ]
    losses = [scalars(one)["train/loss"] for one in written if "train/loss" in scalars(one)]
    assert losses == pytest.approx([one["loss"] for one in records(tmp_path / "run", "train")], rel=1e-6)


def test_without_its_library_tensorboard_is_one_message(launch, tmp_path):
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "tensorboardX.py").write_text("raise ImportError('there is none here')\n")
    env = {"PYTHONPATH": f"{tmp_path / 'none'}{os.pathsep}{runner.ROOT}"}
    for ranks, more in ((3, ()), (0, ()), (0, ("--dry-run",))):
        done = launch(ranks, *QUIET, *BOARD, *more, env=env)
        assert done.status == 2 and not (tmp_path / "run").exists()
        one_message(done, "tensorboardX", "pip install")
