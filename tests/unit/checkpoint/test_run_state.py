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
    older = {name: again["stopping"][name] for name in manifest["state"]["stopping"]}  # some came later
    assert json.dumps(again | {"stopping": older}) == json.dumps(manifest["state"])
    assert list(again) == [manifest["algorithm"], "book", "stopping"]


def test_there_are_saved_checkpoints_of_both_algorithms():
    algorithms = {json.loads(path.read_text())["algorithm"] for path in SAVED}
    assert algorithms == {"downpour", "sandblaster"}
