"""What is mirrored of an iterate, and what is known of it afterwards."""

import pytest

from dbmpi.sandblaster.rollback import Rollback, RollbackPoint, ShardLost


class Orders:
    """Takes orders for mirrors; `lost` is what the next look finds."""

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


def place(sample):
    return RollbackPoint(None, {}, sample)


def test_only_what_was_written_is_mirrored_after_the_first_time():
    orders = Orders()
    rollback = Rollback(orders)
    assert rollback.fresh
    assert rollback.mirror(place(0), [3, 5, 6]) == 1
    assert not rollback.fresh
    rollback.wrote({3, 4})
    rollback.mirror(place(1), [3, 5, 6])
    rollback.mirror(place(2), [3, 5, 6])
    assert orders.given == [([3, 5, 6], True), ([3], False), ([], False)]
    assert orders.awaited == 3  # each order waits for the mirror before


def test_after_a_death_all_of_it_is_mirrored_again():
    orders = Orders()
    rollback = Rollback(orders)
    rollback.mirror(place(0), [3])
    rollback.mirror(place(1), [3])
    orders.lost = 1
    with pytest.raises(ShardLost) as told:
        rollback.check()
    assert told.value.number == 1 and rollback.back_to(1) == place(0)
    assert orders.reverted == [1]
    assert rollback.fresh
    rollback.mirror(place(0), [3])
    assert orders.given[-1] == ([3], True)


def test_the_last_two_places_are_known():
    orders = Orders()
    rollback = Rollback(orders)
    for sample in range(4):
        rollback.mirror(place(sample), [])
    assert [rollback.back_to(number) for number in (3, 4)] == [place(2), place(3)]
    with pytest.raises(KeyError):
        rollback.back_to(2)


def test_without_mirrors_nothing_is_asked():
    rollback = Rollback(None)
    assert rollback.mirror(place(0), [3]) == 0
    rollback.settle()
    rollback.check()
