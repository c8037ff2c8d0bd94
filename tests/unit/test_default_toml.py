"""The default file that ships, against the dataclasses, both ways."""

import re
import tomllib
from typing import Any

import pytest

from dbmpi import config as schema
from dbmpi.config import LAYERS, Config, keys
from dbmpi.settings import DEFAULT_FILE, load, loads

TEXT = DEFAULT_FILE.read_text("utf-8")
LINES = TEXT.splitlines()


def given(uncommented: bool = False) -> dict[str, Any]:
    """Read the file, with the commented-out keys taken in if asked for."""
    return tomllib.loads(re.sub(r"(?m)^# (\w+ = \S+)$", r"\1", TEXT) if uncommented else TEXT)


def leaves(section: Any, path: str = "") -> list[tuple[str, schema.Key]]:
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
def test_every_key_is_there_with_its_default(path: str, key: schema.Key) -> None:
    if key.default is None:
        assert path not in names(given())
        assert lookup(given(uncommented=True), path) == key.example
    elif key.kind is tuple:
        assert given()["model"]["layers"] == [dict(vars(layer)) for layer in key.default]
    else:
        value = lookup(given(), path)
        assert (type(value), value) == (type(key.default), key.default)


def test_no_key_is_there_that_does_not_exist() -> None:
    assert names(given(uncommented=True)) == {path for path, _ in leaves(Config)}


def test_every_commented_out_key_is_valid_too() -> None:
    uncommented = re.sub(r"(?m)^# (\w+ = \S+)$", r"\1", TEXT)
    config = loads(uncommented.encode())
    assert (config.train.steps, config.train.max_time) == (1000, 7200.0)


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


def test_layers_are_described() -> None:
    flowed = " ".join(line.removeprefix("# ") for line in LINES)
    for layer in LAYERS.values():
        for key in keys(layer).values():
            assert f"{key.name}: {key.doc}" in flowed


def test_the_file_is_up_to_date() -> None:
    assert schema.default_toml() == TEXT, "run: python -m dbmpi.config toml > dbmpi/default.toml"
