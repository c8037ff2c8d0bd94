"""The state of a run keeps the names that it has on disk."""

import json

import pytest

from dbmpi.checkpoint.run_state import RunState
from tests import ROOT

SAVED = sorted((ROOT / "tests" / "saved").glob("*/*/checkpoints/*/manifest.json"))


@pytest.mark.parametrize("path", SAVED, ids=lambda path: "-".join(path.parts[-5:-1]))
def test_the_state_of_a_saved_checkpoint_is_written_as_it_was_read(path):
    manifest = json.loads(path.read_text())
    state = RunState.from_json(manifest["state"])
    assert state.algorithm == manifest["algorithm"]
    again = state.to_json()
    assert holds(json.loads(json.dumps(again)), manifest["state"])
    assert list(again) == [manifest["algorithm"], "book", "stopping"]


def holds(written, stored):
    """Whether all that was stored is written as it was, beside what later versions add."""
    if not isinstance(stored, dict):
        return written == stored
    return all(name in written and holds(written[name], value) for name, value in stored.items())


def test_there_are_saved_checkpoints_of_both_algorithms():
    algorithms = {json.loads(path.read_text())["algorithm"] for path in SAVED}
    assert algorithms == {"downpour", "sandblaster"}
