"""The state of a run keeps the names that it has on disk."""

import json

import pytest

from dbmpi.checkpoint.run_state import RunState
from dbmpi.typed import Unlike
from tests import ROOT

SAVED = sorted((ROOT / "tests" / "saved").glob("*/*/checkpoints/*/manifest.json"))


@pytest.mark.parametrize("path", SAVED, ids=lambda path: "-".join(path.parts[-5:-1]))
def test_the_state_of_a_saved_checkpoint_is_written_as_it_was_read(path):
    manifest = json.loads(path.read_text())
    state = RunState.from_json(manifest["state"])
    assert state.algorithm == manifest["algorithm"]
    again = state.to_json()
    older = {name: again["stopping"][name] for name in manifest["state"]["stopping"]}  # some came later
    assert json.dumps(again | {"stopping": older}) == json.dumps(manifest["state"])
    assert list(again) == [manifest["algorithm"], "book", "stopping"]


def test_there_are_saved_checkpoints_of_both_algorithms():
    algorithms = {json.loads(path.read_text())["algorithm"] for path in SAVED}
    assert algorithms == {"downpour", "sandblaster"}


def leaves(content, path=()):
    """Yield the path of every value in a state, tables and lists too."""
    for at in content if isinstance(content, dict) else range(len(content)):
        yield (*path, at)
        if isinstance(content[at], dict | list):
            yield from leaves(content[at], (*path, at))


def changed(content, path, value):
    """Return a state with another value at a path."""
    copy = json.loads(json.dumps(content))
    table = copy
    for at in path[:-1]:
        table = table[at]
    table[path[-1]] = value
    return copy


@pytest.mark.parametrize("path", SAVED, ids=lambda path: "-".join(path.parts[-5:-1]))
@pytest.mark.parametrize("value", ["x", [[1]], {"a": "x"}, 10**30])
def test_a_value_of_another_kind_is_refused_wherever_it_stands(path, value):
    """But for what identifies samples and settings, which is compared and never used."""
    content = json.loads(path.read_text())["state"]
    for at in leaves(content):
        if "batches" in at[:-1] or at[-2:] == ("sandblaster", "batches") or at[-1] == "method":
            continue
        with pytest.raises(Unlike):
            RunState.from_json(changed(content, at, value))


def test_a_state_is_that_of_one_algorithm():
    content = json.loads(SAVED[0].read_text())["state"]
    with pytest.raises(Unlike, match="one algorithm"):
        RunState.from_json({key: content[key] for key in ("book", "stopping")})
