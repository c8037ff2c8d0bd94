"""The run directory: new or empty, its files whole, and what run.json tells."""

import json
import os
from importlib.metadata import PackageNotFoundError

import pytest

from dbmpi import files
from dbmpi.config.load import load
from dbmpi.config.sections import Config, Train
from dbmpi.errors import UserError
from dbmpi.files import versions, write_json, write_text
from dbmpi.layout import topology
from dbmpi.output import run_directory
from tests.doubles.owner import owner


def test_create_makes_parents_and_leaves_nothing_behind(tmp_path):
    path = tmp_path / "a" / "b"
    assert run_directory.create(path) == path
    assert list(path.iterdir()) == []
    run_directory.create(path)  # empty: can be used again


def test_a_mark_of_an_earlier_end_that_cannot_be_removed_is_told(tmp_path):
    """The run would count as finished from its start."""
    (tmp_path / run_directory.FINISHED / "held").mkdir(parents=True)
    with pytest.raises(UserError, match="finished: cannot be written: Is a directory"):
        run_directory.describe_run(
            owner(tmp_path), Config(), topology.assign_roles(1), [{"host": "n"}], "MPI", [1]
        )


def test_other_files_do_not_matter(tmp_path):
    (tmp_path / "slurm-17.out").touch()
    run_directory.create(tmp_path)


@pytest.mark.parametrize("path", ["file", "file/below"])
def test_a_file_in_the_way_is_told(tmp_path, path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"run directory .*/file.*--run-dir"):
        run_directory.create(tmp_path / path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_without_write_permission_is_told(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="Permission denied"):
        run_directory.create(tmp_path / "run")


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "summary.json"
    write_json(path, {"a": 1})

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises((OSError, UserError), match="No space left"):
        write_json(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 1}


def test_a_written_file_leaves_no_temporary_name(tmp_path):
    write_text(tmp_path / "x", "text")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("x", "text")]


def test_run_json_names_every_rank(tmp_path):
    config = Config(train=Train(seed=7))
    plan = topology.assign_roles(6, 1, 2, 1)
    places = [{"host": f"n{rank}", "node": rank} for rank in range(6)]
    run_directory.describe_run(owner(tmp_path), config, plan, places, "Some MPI 1.0", [1, 1, 2, 2, 1, 1])
    run = json.loads((tmp_path / "run.json").read_text())
    assert run["seed"] == 7 and run["mpi"] == "Some MPI 1.0" and run["equation"] == plan.equation()
    assert [rank["rank"] for rank in run["ranks"]] == list(range(6))
    assert run["ranks"][0] == {"rank": 0, "role": "coordinator", "host": "n0", "node": 0, "threads": 1}
    roles = [rank["role"] for rank in run["ranks"]]
    assert sorted(roles) == sorted(str(role) for role in plan.roles)
    assert {"dbmpi", "python", "numpy", "numba", "mpi4py", "h5py"} <= set(run["versions"])


def test_the_resolved_configuration_can_be_run_again(tmp_path):
    config = load(None, ["train.seed=5", "downpour.rule=adam", "train.target.accuracy=0.9"])
    run_directory.describe_run(
        owner(tmp_path), config, topology.assign_roles(3), [{"host": "n"}] * 3, "MPI", [1] * 3
    )
    assert load(tmp_path / "config.toml", []) == config


def test_versions_of_what_is_not_installed_are_unknown(monkeypatch):
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("dbmpi.files.version", missing)
    files._version.cache_clear()
    try:
        assert versions()["mpi4py"] == "unknown"
    finally:
        files._version.cache_clear()
