"""What is mirrored of an iterate, and what is known of it afterwards."""

import pytest

from dbmpi.sandblaster.rollback import Iterates, Place, ShardLost


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
    return Place(None, {}, sample)


def test_only_what_was_written_is_mirrored_after_the_first_time():
    orders = Orders()
    iterates = Iterates(orders)
    assert iterates.fresh
    assert iterates.mirror(place(0), [3, 5, 6]) == 1
    assert not iterates.fresh
    iterates.wrote({3, 4})
    iterates.mirror(place(1), [3, 5, 6])
    iterates.mirror(place(2), [3, 5, 6])
    assert orders.given == [([3, 5, 6], True), ([3], False), ([], False)]
    assert orders.awaited == 3  # each order waits for the mirror before


def test_after_a_death_all_of_it_is_mirrored_again():
    orders = Orders()
    iterates = Iterates(orders)
    iterates.mirror(place(0), [3])
    iterates.mirror(place(1), [3])
    orders.lost = 1
    with pytest.raises(ShardLost) as told:
        iterates.look()
    assert told.value.number == 1 and iterates.back_to(1) == place(0)
    assert orders.reverted == [1]
    assert iterates.fresh
    iterates.mirror(place(0), [3])
    assert orders.given[-1] == ([3], True)


def test_the_last_two_places_are_known():
    orders = Orders()
    iterates = Iterates(orders)
    for sample in range(4):
        iterates.mirror(place(sample), [])
    assert [iterates.back_to(number) for number in (3, 4)] == [place(2), place(3)]
    with pytest.raises(KeyError):
        iterates.back_to(2)


def test_without_mirrors_nothing_is_asked():
    iterates = Iterates(None)
    assert iterates.mirror(place(0), [3]) == 0
    iterates.settle()
    iterates.look()
