"""What is told to do about settings that do not go together, done word by word: they do then."""

import re

import pytest

from dbmpi.config.load import load
from dbmpi.errors import UserError
from dbmpi.layout.topology import assign_roles
from dbmpi.run.start.launch import thread_warnings

DROPOUT = "model.layers=[{type='dropout',rate=0.5},{type='dense',units=10}]"
SOFT = "model.layers.1.activation=relu"
# What is refused, and what each of its remedies is: what is named there, and the settings that do it.
SETTINGS = {
    "train.epochs=none": {
        "train.epochs": "train.epochs=3",
        "train.steps": "train.steps=3",
        "train.max_time": "train.max_time=00:01:00",
        "train.target": "train.target.loss=0.1",
    },
    "train.target.loss=0.1 evaluation.every_epochs=0": {
        "evaluation.every_epochs or": "evaluation.every_epochs=1",
        "evaluation.every_s": "evaluation.every_s=1",
    },
    "train.algorithm=sandblaster train.steps=3": {
        "sandblaster.iterations instead": "train.steps=none sandblaster.iterations=3"
    },
    f"train.algorithm=sandblaster {DROPOUT}": {'train.algorithm = "downpour"': "train.algorithm=downpour"},
    "train.algorithm=sync downpour.n_push=2": {
        "leave it out": "downpour.n_push=1",
        'train.algorithm = "downpour"': "train.algorithm=downpour",
    },
    "downpour.backups=1": {"leave it out": "downpour.backups=0", '"sync"': "train.algorithm=sync"},
    "train.algorithm=sync downpour.rule=adarevision": {'give "adagrad"': "downpour.rule=adagrad"},
    SOFT: {'give "identity"': "model.layers.1.activation=identity", '"squared"': "model.loss=squared"},
    "cluster.grid=[2,3] cluster.partitions=5": {
        "whose product is that": "cluster.grid=[1,5]",
        "leave one of the two": "cluster.partitions=auto",
    },
    "train.minibatch=0": {"at least 1": "train.minibatch=1", '"auto"': "train.minibatch=auto"},
    "train.target.accuracy=97": {"0.97 for 97 %": "train.target.accuracy=0.97"},
    "data.path=12": {'in quotes: "12"': 'data.path="12"'},
    "model.layers=[]": {"the output layer": "model.layers=[{type='dense',units=10}]"},
}


@pytest.mark.parametrize("given", SETTINGS)
def test_settings(given):
    with pytest.raises(UserError) as refused:
        load(None, given.split(" "))
    for named, done in SETTINGS[given].items():
        assert named in str(refused.value)
        load(None, [*given.split(" "), *done.split(" ")])


@pytest.mark.parametrize("option", ["mpirun -n", "--ranks"])
@pytest.mark.parametrize("given", [(2,), (5, 3, 3, 1), (1, 2, 3, 2), (8, "auto", 4, 2)])
def test_ranks(option, given):
    with pytest.raises(UserError) as refused:
        assign_roles(*given, option=option)
    needed = re.search(rf"{option} (\d+)", str(refused.value))
    assert assign_roles(int(needed[1]), *given[1:], option=option)
    assert ("mpirun" in str(refused.value)) is (option == "mpirun -n")


@pytest.mark.parametrize(("threads", "available", "computing", "cores"), [(4, 1, 1, 8), (4, 8, 4, 8)])
def test_threads(threads, available, computing, cores):
    (said,) = thread_warnings(threads, available, computing, cores)
    fewer = int(re.search(r"cluster.threads=(\d+)", said)[1])
    assert thread_warnings(fewer, available, computing, cores) == []
