"""A will is read as it was written."""

from dbmpi import will
from dbmpi.will import Will


def test_a_will_is_read_as_it_was_written():
    state = {"book": {"examples": 7}, "sandblaster": {"sample": 3}}
    left = Will("sandblaster", state, [3, 5, 6], 9)
    assert will.read(left.text()) == left
    assert left.examples == 7
    assert will.read(Will("downpour", state).text()).vectors is None
