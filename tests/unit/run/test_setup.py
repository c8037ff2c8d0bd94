"""What rank 0 decides for all: a user error is printed once, and every rank leaves."""

import os
from pathlib import Path
from typing import Any, cast

import h5py
import numpy as np
import pytest

from dbmpi.comm.abort import RankIdentity
from dbmpi.comm.alone import Alone
from dbmpi.comm.places import RankPlace
from dbmpi.config.load import load
from dbmpi.data import describe
from dbmpi.errors import UserError
from dbmpi.run.plan import setup
from dbmpi.run.plan.cores import thread_reasons
from dbmpi.run.start.cli import Arguments

ALONE = [RankPlace("here", 0, frozenset({0}))]  # the places of one rank


def test_ranks_of_one_number_of_threads_are_told_together() -> None:
    places = [RankPlace("a", 0, frozenset(range(4)))] * 2 + [RankPlace("b", 1, frozenset(range(4)))]
    assert thread_reasons(load(None), places) == {
        "2 (auto: 2 ranks on a node with 4 cores for them)": [0, 1],
        "4 (auto: 1 rank on a node with 4 cores for them)": [2],
    }
    assert thread_reasons(load(None, ["cluster.threads=3"]), places) == {"3 (cluster.threads)": [0, 1, 2]}


def test_the_data_and_the_network_fit_together():
    config, topology, (description, network) = setup._inspect(load(None), ALONE)
    assert config.train.minibatch == 16  # of "auto"
    assert network.inputs == description.inputs == 64 and network.outputs == 10
    assert topology.serial


@pytest.mark.parametrize("missing", ["nowhere.h5", "/no/such/folder/x.h5"])
def test_a_missing_file_is_told(missing):
    config = load(None, [f"data.path={missing}"])
    with pytest.raises(UserError, match=missing):
        setup._inspect(config, ALONE)


def test_a_network_with_too_few_outputs_is_refused():
    config = load(None, ["model.layers.1.units=9"])
    with pytest.raises(UserError, match="10"):
        setup._inspect(config, ALONE)


def test_a_network_larger_than_the_memory_is_refused() -> None:
    config = load(None, ["model.layers.0.units=14000000000"])  # 1.05e12 parameters
    with pytest.raises(UserError, match="parameters takes at least .* GB on each rank of a replica, but"):
        setup._inspect(config, ALONE)
    config = load(None, ["model.layers.0.units=9007199254740992"])
    with pytest.raises(UserError, match=r"model\.layers: a network of [\d,]* parameters.* is beyond"):
        setup._inspect(config, ALONE)


def test_a_stand_in_for_the_data_cannot_be_learned_from(tmp_path: Path) -> None:
    path = tmp_path / "stand-in.h5"
    with h5py.File(path, "w") as file:
        for name in ("train", "test"):
            file.create_dataset(f"{name}/x", (10, 3), "u1", chunks=(2, 3))
            file[f"{name}/y"] = np.zeros(10, int)
    assert describe.describe(path).train_rows == 10
    with pytest.raises(UserError, match="of its 5 chunks 0 were written"):
        setup._inspect(load(None, [f"data.path={path}"]), ALONE)


def test_nobody_can_guess_what_names_in_shared_places_are_made_of(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "environ", dict(os.environ))
    who, alone = RankIdentity(0), cast(Any, Alone())
    made = [setup.prepare(Arguments(run_dir=tmp_path / f"run{i}"), alone, who) for i in range(2)]
    assert made[0].job != made[1].job and len(made[0].job) == 32
    for one in made:
        one.release()
