"""Clients' memory as a shard maps it."""

import numpy as np
import pytest

from dbmpi.comm.segments import Segment
from dbmpi.errors import ProtocolError
from dbmpi.server.areas import Areas

F4 = np.dtype("f4")


def test_a_part_of_a_client_s_vector_is_found_in_place():
    made, areas = Segment(40), Areas(0)
    values = made.view(F4)
    part = areas.find(made.area, 5, 4, 3, F4)
    assert part is not None
    part[:] = 1
    assert values.tolist() == [0] * 4 + [1] * 3 + [0] * 3
    with pytest.raises(ProtocolError, match="names 3 elements from 8 on in 40 bytes"):
        areas.find(made.area, 5, 8, 3, F4)


def test_what_cannot_be_mapped_is_told_once(capsys):
    areas, area = Areas(2), Segment(40).area.copy()
    area["token"] += 1
    for client in (5, 5, 6):
        assert areas.find(area, client, 0, 3, F4) is None
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("dbmpi: shard 2 cannot map memory of rank 5 on its node")


def test_the_memory_of_a_dead_client_is_let_go():
    made, areas = Segment(40), Areas(0)
    areas.find(made.area, 5, 0, 3, F4)
    areas.find(made.area, 6, 0, 3, F4)
    areas.forget(5)
    assert [client for client, _ in areas._mapped] == [6]
