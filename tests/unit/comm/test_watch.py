"""The coordinator as other ranks watch it: silent by the time in which they looked."""

import pytest

from dbmpi import awake as module
from dbmpi.awake import AwakeClock, Deadline
from dbmpi.comm import watch
from dbmpi.comm.wait import JUDGED
from dbmpi.comm.watch import CoordinatorWatch
from dbmpi.errors import PeerSilent
from dbmpi.process import NOBODY


class Time:
    """What the watch looks at; every look is 10 ms after the one before."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.killed = 0.0, list[object]()
        monkeypatch.setattr(module.time, "monotonic", self.read)
        clock = AwakeClock()
        for where in (module, watch):
            monkeypatch.setattr(where, "awake", clock)
        monkeypatch.setattr(watch, "kill", self.killed.append)

    def read(self) -> float:
        self.now += 0.01
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    return Time(monkeypatch)


def until_silent(watched: CoordinatorWatch) -> None:
    while True:
        watched.judge()


def test_without_the_news_of_deaths_it_is_named(time):
    with pytest.raises(PeerSilent, match="no sign of life for 15 s from rank 0"):
        until_silent(CoordinatorWatch(10.0, "rank 0", None))
    assert time.killed == [] and 10 * JUDGED <= time.now < 10 * JUDGED + 0.1


def test_where_ranks_may_die_it_is_killed_once_and_its_death_awaited(time):
    with pytest.raises(PeerSilent):
        until_silent(CoordinatorWatch(10.0, "rank 0", NOBODY))
    assert time.killed == [NOBODY] and time.now > 10 * (JUDGED + watch.GRACE)


def test_what_it_says_begins_the_time_anew(time):
    watched = CoordinatorWatch(10.0, "rank 0", NOBODY)
    for _ in range(20):
        for _ in range(400):
            watched.judge()
        watched.heard()
    assert not watched.look() and time.killed == []


def test_time_in_which_this_rank_stood_still_does_not_count(time):
    watched = CoordinatorWatch(1.0, "rank 0", NOBODY)
    for _ in range(4):
        time.now += 100.0
        assert not watched.look()


def test_a_deadline_passes_at_the_look_after(time):
    deadline = Deadline(0.1)
    assert [deadline.passed() for _ in range(12)] == [False] * 11 + [True]
