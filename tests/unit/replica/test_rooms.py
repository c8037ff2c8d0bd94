"""Vectors that travel: where they lie, and what becomes of their memory."""

import numpy as np

from dbmpi.comm.segments import attach
from dbmpi.replica import rooms
from dbmpi.replica.rooms import Rooms

F8 = np.dtype("f8")


def test_a_vector_is_known_by_its_place():
    made = Rooms(shared=True)
    first, second = made.take(9, F8), made.take(9, F8)
    second[:] = 2
    assert (attach(made.area(second)).view(F8) == 2).all() and not attach(made.area(first)).any()
    assert not made.area(np.zeros(9))["pid"] and not made.area(first[1:])["pid"]


def test_the_memory_of_what_nobody_uses_is_used_again():
    made = Rooms(shared=True)
    first = made.take(9, F8)
    area, part = made.area(first), first[2:4]
    del first
    other = made.take(9, F8)
    assert made.area(other) != area  # a part of the first is in use
    del part
    assert made.area(made.take(8, F8)) != area
    again = made.take(9, F8)
    assert made.area(again) == area


def test_without_memory_to_share_vectors_are_ordinary(monkeypatch):
    def full(size):
        raise OSError("full")

    assert not Rooms(shared=False).area(Rooms(shared=False).take(9, F8))["pid"]
    monkeypatch.setattr(rooms, "Segment", full)
    made = Rooms(shared=True)
    values = made.take(9, F8)
    assert values.shape == (9,) and not made.area(values)["pid"]
