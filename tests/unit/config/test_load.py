"""Reading a configuration: what resolves to what."""

from pathlib import Path

import pytest

from dbmpi.config.layers import UNITS_OF_DATA, Conv, Dense, Dropout, Lcn, Local, Pool
from dbmpi.config.load import load, loads
from dbmpi.config.sections import Config

ISSUE_EXAMPLE = b"""
[data]
path = "mnist.h5"
[model]
loss = "softmax"
[[model.layers]]
type = "dense"
units = 512
activation = "relu"
[[model.layers]]
type = "dense"
units = 10
[cluster]
shards = 1
replicas = 2
partitions = 2
threads = 1
[train]
algorithm = "downpour"
minibatch = 100
epochs = 8
seed = 1
[downpour]
n_fetch = 1
n_push = 1
rule = "adagrad"
learning_rate = 0.02
"""


def test_a_whole_file() -> None:
    config = loads(ISSUE_EXAMPLE)
    assert config.data.path == "mnist.h5"
    assert config.model.layers == (Dense(units=512, activation="relu"), Dense(units=10))
    assert (config.cluster.replicas, config.train.minibatch) == (2, 100)
    assert config.train.epochs == 8.0 and type(config.train.epochs) is float


def test_no_file_is_the_default() -> None:
    assert load(None) == loads(b"") == Config()


def test_a_file_from_disk_with_mark_and_line_ends_of_windows(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_bytes(b"\xef\xbb\xbf[train]\r\nseed = 7\r\n")
    assert load(path).train.seed == 7
    assert load(str(path)).train.seed == 7


def test_overrides_win_over_the_file_and_later_ones_over_earlier() -> None:
    config = loads(b"[train]\nseed = 7\nminibatch = 3", ["train.seed=8", "train.seed=9"])
    assert (config.train.seed, config.train.minibatch) == (9, 3)


@pytest.mark.parametrize(
    ("override", "section", "key", "value"),
    [
        ("train.minibatch=32", "train", "minibatch", 32),
        ("train.minibatch = 1_000 ", "train", "minibatch", 1000),
        ("data.path=/scratch/me/x.h5", "data", "path", "/scratch/me/x.h5"),
        ("data.path=a=b #1.h5", "data", "path", "a=b #1.h5"),
        ('data.path="12"', "data", "path", "12"),
        ("downpour.rule=sgd", "downpour", "rule", "sgd"),
        ("downpour.overlap=true", "downpour", "overlap", True),
        ("downpour.overlap=auto", "downpour", "overlap", "auto"),
        ("downpour.local_rate=1", "downpour", "local_rate", 1.0),
        ("cluster.shards='auto'", "cluster", "shards", "auto"),
        ("train.max_time=90", "train", "max_time", 90.0),
        ("train.max_time=00:10:00", "train", "max_time", 600.0),  # TOML takes this as a time of day
        ("train.max_time=36:00:01", "train", "max_time", 129601.0),
        ("train.max_time=2-03:04:05", "train", "max_time", 183845.0),
    ],
)
def test_values_of_overrides(override: str, section: str, key: str, value: object) -> None:
    got = getattr(getattr(loads(b"", [override]), section), key)
    assert (type(got), got) == (type(value), value)


def test_nested_overrides() -> None:
    config = loads(b"", ["train.target.accuracy=0.97", "downpour.schedule={kind='step', decay_factor=0.1}"])
    assert config.train.target.accuracy == 0.97
    assert (config.downpour.schedule.kind, config.downpour.schedule.decay_factor) == ("step", 0.1)


def test_layers_by_index_and_as_a_whole() -> None:
    assert loads(b"", ["model.layers.0.units=64"]).model.layers == (
        Dense(units=64, activation="relu"),
        Dense(units=UNITS_OF_DATA),
    )
    assert loads(ISSUE_EXAMPLE, ["model.layers.1.units=20"]).model.layers[1].units == 20
    layers = "model.layers=[{type='dense', units=5, activation='tanh'}, {type='dense', units=2}]"
    config = loads(
        ISSUE_EXAMPLE, [layers, "model.layers.1.units=3", "model.layers.0={type='dense', units=4}"]
    )
    assert config.model.layers == (Dense(units=4), Dense(units=3))


def test_overrides_leave_the_defaults_alone() -> None:
    loads(b"", ["model.layers.0.units=64"])
    assert Config().model.layers[0].units == 128


@pytest.mark.parametrize(
    ("content", "epochs"),
    [
        ("", 40.0),
        ("steps = 100", None),
        ("max_time = 60", 40.0),  # the end of a job, not of the run
        ("target = {accuracy = 0.9}", None),
        ("target = {}", 40.0),
        ("target = {accuracy = 'none'}", 40.0),
        ("steps = 'none'", 40.0),
        ("steps = 100\nepochs = 2", 2.0),
        ("steps = 100\nepochs = 'none'", None),
    ],
)
def test_the_default_epochs_hold_where_nothing_else_ends_the_run(content: str, epochs: float | None) -> None:
    assert loads(f"[train]\n{content}".encode()).train.epochs == epochs


def test_an_override_can_unset_a_limit_of_the_file() -> None:
    config = loads(b"[train]\nepochs = 8", ["train.epochs=none", "train.steps=5"])
    assert (config.train.epochs, config.train.steps) == (None, 5)


def test_losses_with_their_own_output_function_take_identity_only() -> None:
    layers = "model.layers=[{type='dense', units=5, activation='sigmoid'}]"
    assert loads(b"", [layers, "model.loss=squared"]).model.layers[-1].activation == "sigmoid"


IMAGE_LAYERS = b"""
[[model.layers]]
type = "local"
filters = 8
size = [7, 5]
activation = "relu"
[[model.layers]]
type = "conv"
filters = 4
size = 3
stride = [1, 2]
padding = 1
[[model.layers]]
type = "pool"
kind = "l2"
size = 3
stride = 2
[[model.layers]]
type = "lcn"
size = 5
floor = 1
[[model.layers]]
type = "dropout"
rate = 0
[[model.layers]]
type = "dense"
units = 10
"""


def test_every_type_of_layer() -> None:
    config = loads(IMAGE_LAYERS)
    assert config.model.layers == (
        Local(filters=8, size=(7, 5), stride=1, padding=0, activation="relu"),
        Conv(filters=4, size=3, stride=(1, 2), padding=1, activation="identity"),
        Pool(kind="l2", size=3, stride=2),
        Lcn(size=5, floor=1.0),
        Dropout(rate=0.0),
        Dense(units=10),
    )
    assert hash(config) == hash(loads(IMAGE_LAYERS))


def test_pairs_by_override() -> None:
    config = loads(IMAGE_LAYERS, ["model.layers.0.size=[9, 3]", "model.layers.1.padding=[0, 1]"])
    assert (config.model.layers[0].size, config.model.layers[1].padding) == ((9, 3), (0, 1))
    config = loads(IMAGE_LAYERS, ["model.layers.0.size.1=4", "model.layers.1.stride=2"])
    assert (config.model.layers[0].size, config.model.layers[1].stride) == ((7, 4), 2)


def test_a_grid_gives_the_number_of_partitions() -> None:
    assert (Config().cluster.grid, Config().cluster.partitions) == (None, "auto")
    cluster = loads(b"[cluster]\ngrid = [2, 3]").cluster
    assert (cluster.grid, cluster.partitions) == ((2, 3), 6)
    assert loads(b"[cluster]\ngrid = [1, 6]\npartitions = 6").cluster.grid == (1, 6)
    unset = loads(b"[cluster]\ngrid = [2, 3]", ["cluster.grid=none"]).cluster
    assert (unset.grid, unset.partitions) == (None, "auto")
