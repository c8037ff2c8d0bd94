"""What is mirrored of an iterate, and what is known of it afterwards."""

import pytest

from dbmpi.sandblaster.direction import Direction
from dbmpi.sandblaster.optimizer_state import Iterate, OptimizerState, RollbackPoint
from dbmpi.sandblaster.rollback import Rollback, ShardLost


class FakeMirrors:
    """Takes orders for mirrors; `lost` is what the next check finds."""

    def __init__(self):
        self.given, self.awaited, self.reverted, self.lost = [], 0, [], None

    def mirror(self, vectors, anew):
        self.given.append((list(vectors), anew))
        return len(self.given)

    def await_mirrors(self):
        self.awaited += 1

    def take_lost(self):
        lost, self.lost = self.lost, None
        return lost

    def revert(self, number):
        self.reverted.append(number)


def point(sample, *vectors):
    return RollbackPoint(None, {}, vectors, sample)


def test_only_what_was_written_is_mirrored_after_the_first_time():
    orders = FakeMirrors()
    rollback = Rollback(orders)
    assert rollback.empty
    assert rollback.mirror(point(0, 3, 5, 6), [3, 5, 6]) == 1
    assert not rollback.empty
    rollback.wrote({3, 4})
    rollback.mirror(point(1, 3, 5, 6), [3, 5, 6])
    rollback.mirror(point(2, 3, 5, 6), [3, 5, 6])
    assert orders.given == [([3, 5, 6], True), ([3], False), ([], False)]
    assert orders.awaited == 3  # each order waits for the mirror before


def test_after_a_death_all_of_it_is_mirrored_again():
    orders = FakeMirrors()
    rollback = Rollback(orders)
    rollback.mirror(point(0, 3), [3])
    rollback.mirror(point(1, 3), [3])
    orders.lost = 1
    with pytest.raises(ShardLost) as told:
        rollback.check()
    assert told.value.number == 1 and rollback.back_to(1) == point(0, 3)
    assert orders.reverted == [1]
    assert rollback.empty
    rollback.mirror(point(0, 3), [3])
    assert orders.given[-1] == ([3], True)


def test_the_last_two_points_are_known():
    orders = FakeMirrors()
    rollback = Rollback(orders)
    for sample in range(4):
        rollback.mirror(point(sample), [])
    assert [rollback.back_to(number) for number in (4, 3)] == [point(3), point(2)]
    for number in (2, 4):
        with pytest.raises(KeyError):
            rollback.back_to(number)


def test_a_run_comes_back_to_an_iterate_that_is_evaluated_again():
    iterate = Iterate(1.0, 2.0, 3.0, Direction([], -1.0, 1.0))
    whole = RollbackPoint(OptimizerState(4.0, 5, 0.1, False, iterate), {"kept": [1]}, [3, 7], 2)
    again = OptimizerState(4.0, 5, 0.1, False, None)
    assert whole.for_return(True) == RollbackPoint(again, {"kept": [1]}, [3, 7], 2)
    assert whole.for_return(False) == RollbackPoint(again, {}, (), 2)  # its vectors are overwritten
    assert RollbackPoint(sample=1).for_return(True) == RollbackPoint(sample=1)


def test_vectors_are_mirrored_although_the_run_would_go_on_without_them():
    """The checkpoint of this iterate may be written once more, by a successor that has only the mirror."""
    orders = FakeMirrors()
    rollback = Rollback(orders)
    whole = RollbackPoint(None, {"kept": [1]}, [3, 7], 2)
    rollback.mirror(whole.for_return(False), whole.vectors)
    assert orders.given == [([3, 7], True)] and rollback.back_to(1).vectors == ()
