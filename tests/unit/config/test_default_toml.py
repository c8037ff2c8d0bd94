"""The default file that ships, against the dataclasses, both ways."""

import re
import tomllib
from typing import Any

import pytest

from dbmpi.config import page
from dbmpi.config.layers import LAYERS
from dbmpi.config.load import load, loads
from dbmpi.config.schema import DEFAULT_FILE, Key, keys
from dbmpi.config.sections import Config
from dbmpi.config.toml import literal

TEXT = DEFAULT_FILE.read_text("utf-8")
LINES = TEXT.splitlines()
COMMENTED_OUT = r"(?m)^# (\w+ = (?:\[.*\]|\S+))$"


def given(uncommented: bool = False) -> dict[str, Any]:
    """Read the file, with the commented-out keys taken in if asked for."""
    return tomllib.loads(re.sub(COMMENTED_OUT, r"\1", TEXT) if uncommented else TEXT)


def leaves(section: Any, path: str = "") -> list[tuple[str, Key]]:
    found = []
    for key in keys(section).values():
        found += leaves(key.kind, f"{path}{key.name}.") if key.table else [(path + key.name, key)]
    return found


def lookup(table: Any, path: str) -> Any:
    for part in path.split("."):
        table = table[part]
    return table


def names(table: dict[str, Any], path: str = "") -> set[str]:
    """Return the dotted names of all values; the layers count as one."""
    found: set[str] = set()
    for name, value in table.items():
        found |= names(value, f"{path}{name}.") if isinstance(value, dict) else {path + name}
    return found


def test_the_file_is_the_default_configuration() -> None:
    assert load(DEFAULT_FILE) == Config() == load(None)


@pytest.mark.parametrize(("path", "key"), leaves(Config))
def test_every_key_is_there_with_its_default(path: str, key: Key) -> None:
    if key.default is None:
        assert path not in names(given())
        value = lookup(given(uncommented=True), path)
        assert value == (list(key.example) if key.pair else key.example)
    elif key.kind is tuple:
        assert given()["model"]["layers"] == [dict(vars(layer)) for layer in key.default]
    else:
        value = lookup(given(), path)
        assert (type(value), value) == (type(key.default), key.default)


def test_no_key_is_there_that_does_not_exist() -> None:
    assert names(given(uncommented=True)) == {path for path, _ in leaves(Config)}


def test_every_commented_out_key_is_valid_too() -> None:
    uncommented = re.sub(COMMENTED_OUT, r"\1", TEXT)
    config = loads(uncommented.encode())
    assert (config.train.steps, config.train.max_time, config.cluster.grid) == (1000, 7200.0, (2, 3))


def test_every_key_is_described_above_it() -> None:
    comment: list[str] = []
    described: dict[str, str] = {}
    section = ""
    for line in LINES:
        header = re.fullmatch(r"\[+([\w.]+)\]+", line)
        assignment = re.fullmatch(r"(?:# )?(\w+) = \S.*", line)
        if header:
            section = header[1]
        elif assignment and comment and not line.startswith('# "'):
            described[f"{section}.{assignment[1]}"] = " ".join(comment)
        comment = [*comment, line[2:]] if line.startswith("# ") and not assignment else []
    for path, key in leaves(Config):
        if key.kind is not tuple:
            assert described[path].startswith(key.doc), path


def test_layers_are_described_with_their_defaults() -> None:
    flowed = " ".join(line.removeprefix("#").strip() for line in LINES)
    for layer in LAYERS.values():
        own = flowed.partition(str(layer.__doc__).partition("\n")[0])[2]
        for key in keys(layer).values():
            place, own = own.partition(f" {key.name}: {key.doc}")[1:]
            told = re.match(r".*? Accepts .*?\.(?: Default: (.*?)\.(?= ))?(?= )", own)
            assert place and told, key
            expected = None if key.required or key.name == "type" else literal(key.default)
            assert told[1] == expected, key


def test_the_file_is_up_to_date() -> None:
    assert page.default_toml() == TEXT, "run: python -m dbmpi.config toml > dbmpi/config/default.toml"
