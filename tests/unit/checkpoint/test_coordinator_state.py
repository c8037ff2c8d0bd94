"""A will is read as it was written."""

from dbmpi.checkpoint import coordinator_state
from dbmpi.checkpoint.coordinator_state import CoordinatorState


def test_a_will_is_read_as_it_was_written():
    state = {"book": {"examples": 7}, "sandblaster": {"sample": 3}}
    left = CoordinatorState("sandblaster", state, [3, 5, 6], 9)
    assert coordinator_state.read(left.text()) == left
    assert left.examples == 7
    assert coordinator_state.read(CoordinatorState("downpour", state).text()).vectors is None
