"""The dataclasses of the configuration, and what is derived from their metadata."""

import dataclasses
import pickle
import tomllib
from pathlib import Path
from typing import Any

import pytest

from dbmpi import config as schema
from dbmpi.config import LAYERS, Config, Dense, accepts, keys, to_dict, to_toml
from dbmpi.settings import loads

ROOT = Path(__file__).resolve().parents[2]

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
type = "dense"
units = 2
[cluster]
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


def scalars() -> list[tuple[str, schema.Key]]:
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
        Dense(units=10, activation="identity"),
    )
    assert (config.train.minibatch, config.train.epochs, config.train.steps) == (16, 40.0, None)
    assert (config.cluster.shards, config.cluster.timeout_s) == ("auto", 300.0)
    assert (config.downpour.rule, config.downpour.learning_rate) == ("adagrad", 0.02)
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
    assert tomllib.loads(f"value = {schema.literal(text)}")["value"] == text


def test_to_dict_is_plain_and_complete() -> None:
    plain = to_dict(Config())
    assert plain["train"]["steps"] is None
    assert plain["model"]["layers"][1] == {"type": "dense", "units": 10, "activation": "identity"}
    assert plain["downpour"]["warmstart"] == {"steps": 0, "time": 0.0}


@pytest.mark.parametrize(("name", "key"), scalars())
def test_every_key_has_a_sentence_and_says_what_it_accepts(name: str, key: schema.Key) -> None:
    assert key.doc.endswith(".") and len(key.doc) > 15, name
    assert accepts(key), name
    if key.kind in (int, float):
        assert (key.minimum, key.above) != (None, None), f"{name} has no lower limit"


@pytest.mark.parametrize(("name", "key"), scalars())
def test_every_default_and_example_is_within_its_limits(name: str, key: schema.Key) -> None:
    value: Any = key.example if key.required or key.default is None else key.default
    assert value is not None, f"{name} needs an example"
    if isinstance(value, str):
        assert value in key.words or key.kind is str or key.duration
    else:
        assert type(value) is key.kind
        assert key.minimum is None or value >= key.minimum
        assert key.above is None or value > key.above
        assert key.maximum is None or value <= key.maximum


def test_layer_types_are_registered_by_name() -> None:
    for name, layer in LAYERS.items():
        assert keys(layer)["type"].words == (name,)


def test_what_a_key_accepts_reads_well() -> None:
    assert accepts(keys(schema.Cluster)["shards"]) == 'an integer of at least 1 or "auto"'
    assert accepts(keys(schema.Downpour)["overlap"]) == 'true, false or "auto"'
    assert accepts(keys(schema.Downpour)["momentum"]) == "a number of at least 0 and below 1"
    assert accepts(keys(schema.Target)["accuracy"]) == "a number above 0 and at most 1"
    assert accepts(keys(schema.Model)["loss"]) == '"softmax", "logistic" or "squared"'


def test_the_page_is_that_of_the_metadata() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    assert page == schema.markdown(), "run: python -m dbmpi.config > docs/configuration.md"
    for section in sections():
        for key in keys(section).values():
            assert key.table or f"| `{key.name}` |" in page or section is Config


def test_no_row_of_the_page_is_broken_by_a_bar() -> None:
    for line in schema.markdown().splitlines():
        if line.startswith("|"):
            assert line.count("|") == 6, line
