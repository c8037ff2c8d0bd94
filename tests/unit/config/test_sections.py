"""The dataclasses of the configuration, and what is derived from their metadata."""

import dataclasses
import pickle
import tomllib
from typing import Any

import pytest

from dbmpi.config import page
from dbmpi.config.algorithms import Downpour
from dbmpi.config.layers import LAYERS, UNITS_OF_DATA, Conv, Dense, Dropout, Lcn, Local, Pool, pair
from dbmpi.config.load import loads
from dbmpi.config.schema import Key, accepts, keys
from dbmpi.config.sections import Cluster, Config, Model, Target, Train
from dbmpi.config.toml import literal, to_toml
from tests import ROOT

CHANGED = b"""
[data]
path = 'caf\xc3\xa9 "x"\\y.h5'
[model]
loss = "logistic"
l2 = 1e-20
[[model.layers]]
type = "dense"
units = 3
activation = "tanh"
[[model.layers]]
type = "conv"
filters = 4
size = [7, 5]
padding = [3, 2]
[[model.layers]]
type = "local"
filters = 4
size = 3
stride = [1, 2]
activation = "relu"
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
rate = 0.25
[[model.layers]]
type = "dense"
units = 2
[cluster]
grid = [2, 3]
shards = 4
threads = "auto"
[train]
epochs = 0.1
steps = 9007199254740992
max_time = "1-02:03:04"
target = {accuracy = 0.97, loss = 0}
[downpour]
overlap = false
local_rate = 0.3
learning_rate = 1e22
schedule = {kind = "cosine", warmup_epochs = 1}
warmstart.time = 2.5
"""


def sections() -> list[type]:
    """Return every dataclass of the configuration."""
    found: list[type] = [Config]
    for section in found:
        found += [key.kind for key in keys(section).values() if key.table]  # grows while it is read
    return found + list(LAYERS.values())


def scalars() -> list[tuple[str, Key]]:
    return [
        (f"{section.__name__}.{key.name}", key)
        for section in sections()
        for key in keys(section).values()
        if not key.table and key.kind is not tuple
    ]


def test_the_fixed_names_and_defaults_are_there() -> None:
    config = Config()
    assert config.data.path == "digits"
    assert config.model.layers == (
        Dense(units=128, activation="relu"),
        Dense(units=UNITS_OF_DATA, activation="identity"),
    )
    assert (config.train.minibatch, config.train.epochs, config.train.steps) == ("auto", 40.0, None)
    assert (config.cluster.shards, config.cluster.timeout_s) == ("auto", 300.0)
    assert (config.downpour.rule, config.downpour.learning_rate) == ("auto", "auto")
    assert (config.downpour.schedule.kind, config.downpour.warmstart.steps) == ("constant", 0)
    assert (config.train.target.accuracy, config.evaluation.minibatch) == (None, 250)
    assert config.output.progress == "auto"


def test_the_configuration_is_frozen_hashable_and_picklable() -> None:
    config = loads(CHANGED)
    assert pickle.loads(pickle.dumps(config)) == config
    assert hash(config) != hash(Config())
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.train.seed = 2  # type: ignore[misc]


@pytest.mark.parametrize("content", [b"", CHANGED, b"[train]\nsteps = 3\n", b"[train]\nmax_time = 0.1\n"])
def test_the_resolved_configuration_gives_itself_back(content: bytes) -> None:
    config = loads(content)
    written = to_toml(config)
    again = loads(written.encode())
    assert again == config
    assert to_toml(again) == written


def test_toml_strings_are_escaped() -> None:
    text = 'a"b\\c\n\x7f\x01é\U0001f600'
    assert tomllib.loads(f"value = {literal(text)}")["value"] == text


@pytest.mark.parametrize(("name", "key"), scalars())
def test_every_key_has_a_sentence_and_says_what_it_accepts(name: str, key: Key) -> None:
    assert key.doc.endswith(".") and len(key.doc) > 15, name
    assert accepts(key), name
    if key.kind in (int, float) or key.pair:
        assert (key.minimum, key.above) != (None, None), f"{name} has no lower limit"


@pytest.mark.parametrize(("name", "key"), scalars())
def test_every_default_and_example_is_within_its_limits(name: str, key: Key) -> None:
    given: Any = key.example if key.required or key.default is None else key.default
    assert given is not None, f"{name} needs an example"
    for value in given if key.pair and isinstance(given, tuple) else [given]:
        if isinstance(value, str):
            assert value in key.words or key.kind is str or key.duration
            continue
        assert type(value) is key.kind or (key.pair and type(value) is int)
        assert key.minimum is None or value >= key.minimum
        assert key.above is None or value > key.above
        assert key.maximum is None or value <= key.maximum
        assert not key.odd or value % 2


def test_layer_types_are_registered_by_name() -> None:
    for name, layer in LAYERS.items():
        assert keys(layer)["type"].words == (name,)
        assert keys(layer)["type"].default == name == next(iter(keys(layer).values())).default


def test_the_layers_have_the_keys_and_defaults_that_are_documented() -> None:
    found = {
        name: {key.name: "required" if key.required else key.default for key in keys(layer).values()}
        for name, layer in LAYERS.items()
    }
    fields = {"filters": "required", "size": "required", "stride": 1, "padding": 0, "activation": "identity"}
    assert found == {
        "dense": {"type": "dense", "units": "required", "activation": "identity"},
        "local": {"type": "local"} | fields,
        "conv": {"type": "conv"} | fields,
        "pool": {"type": "pool", "kind": "max", "size": "required", "stride": "required"},
        "lcn": {"type": "lcn", "size": "required", "floor": 0.01},
        "dropout": {"type": "dropout", "rate": "required"},
    }


def test_a_single_number_is_a_pair_of_it() -> None:
    assert pair(3) == (3, 3)
    assert pair((7, 5)) == (7, 5)


def test_layers_are_told_in_a_few_words() -> None:
    assert [
        str(layer)
        for layer in (
            Dense(units=3),
            Local(filters=8, size=7, activation="relu"),
            Conv(filters=8, size=(7, 5), stride=2, padding=(0, 1)),
            Pool(kind="l2", size=3, stride=2),
            Lcn(size=5),
            Dropout(rate=0.5),
        )
    ] == [
        "dense 3 identity",
        "local 8 of 7x7 relu",
        "conv 8 of 7x5 stride 2x2 padding 0x1 identity",
        "pool l2 3x3 stride 2x2",
        "lcn 5x5",
        "dropout 0.5",
    ]


def test_what_a_key_accepts_reads_well() -> None:
    assert accepts(keys(Cluster)["shards"]) == 'an integer of at least 1 and at most 100000 or "auto"'
    assert accepts(keys(Downpour)["overlap"]) == 'true, false or "auto"'
    assert accepts(keys(Downpour)["momentum"]) == "a number of at least 0 and below 1"
    assert accepts(keys(Target)["accuracy"]) == "a number above 0 and at most 1"
    assert accepts(keys(Cluster)["grid"]) == "[rows, columns], integers of at least 1"
    assert accepts(keys(Lcn)["size"]) == "an odd integer of at least 1 and at most 999"
    assert accepts(keys(Pool)["size"]) == "an integer of at least 1 or two of these, [rows, columns]"
    assert accepts(keys(Model)["loss"]) == '"auto", "softmax", "logistic" or "squared"'
    assert accepts(keys(Train)["class_weights"]) == 'an array of numbers of at least 0 or "balanced"'


def test_the_page_is_that_of_the_metadata() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    assert text == page.markdown(), "run: python -m dbmpi.config > docs/configuration.md"
    for section in sections():
        for key in keys(section).values():
            assert key.table or f"| `{key.name}` |" in text or section is Config


def test_no_row_of_the_page_is_broken_by_a_bar() -> None:
    for line in page.markdown().splitlines():
        if line.startswith("|"):
            assert line.count("|") == 6, line
