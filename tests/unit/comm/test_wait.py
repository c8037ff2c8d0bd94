"""Waiting: politely, never for ever, and counted."""

from collections.abc import Callable

import pytest

from dbmpi.comm import wait
from dbmpi.comm.wait import Cause, IdleBackoff, Waiter
from dbmpi.errors import PeerSilent


class Clock:
    """A clock that only sleeping, and polling, move."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.sleeps: list[float] = []
        self.yields = 0
        monkeypatch.setattr(wait.time, "monotonic", self.read)
        monkeypatch.setattr(wait.time, "sleep", self.sleep)
        monkeypatch.setattr(wait.os, "sched_yield", self.give_way)

    def read(self) -> float:
        self.now += 1e-6
        return self.now

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += seconds

    def give_way(self) -> None:
        self.yields += 1


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def after(polls: int) -> Callable[[], bool]:
    """Return a condition that holds at poll number `polls` (from 0)."""
    left = [polls + 1]

    def done() -> bool:
        left[0] -= 1
        return left[0] <= 0

    return done


def peer() -> str:
    return "rank 7 (shard 2)"


def test_what_is_done_already_is_not_waited_for(clock):
    waiter = Waiter(10.0)
    waiter.until(lambda: True, peer)
    assert clock.sleeps == [] and not any(waiter.take_waited()[0])


@pytest.mark.parametrize("crowded", [True, False])
def test_a_silent_peer_is_named_at_the_deadline(clock, crowded):
    with pytest.raises(PeerSilent, match=r"no sign of life for 10 s from rank 7 \(shard 2\)"):
        Waiter(10.0, crowded).until(lambda: False, peer, patience=1.0)
    assert 10.0 <= clock.now < 10.1


def test_time_in_which_the_waiter_stood_still_does_not_count(clock):
    looks = []

    def suspended() -> bool:
        looks.append(clock.now)
        clock.now += 100.0 if len(looks) == 50 else 0.0
        return False

    with pytest.raises(PeerSilent):
        Waiter(10.0).until(suspended, peer, patience=1.0)
    assert 109.0 < clock.now < 110.1


def test_what_lay_waiting_is_read_before_silence_is_judged(clock):
    """However long the waiter stood still, and however short its deadline is."""
    looks = []

    def arrived() -> bool:
        looks.append(clock.now)
        clock.now += 100.0 if len(looks) == 5 else 0.0
        return len(looks) == 6

    Waiter(1e-3).until(arrived, peer, patience=1.0)
    assert len(looks) == 6


def test_a_wait_ends_though_each_look_takes_long(clock):
    def slow() -> bool:
        clock.now += 50.0
        return False

    with pytest.raises(PeerSilent):
        Waiter(10.0).until(slow, peer)


def test_a_rank_that_waits_attends_to_the_others(clock):
    signs: list[float] = []
    waiter = Waiter(10.0)
    with waiter.attending(lambda: signs.append(clock.now)):
        for _ in range(20):
            waiter.until(after(2000), peer)
    assert len(signs) == pytest.approx(clock.now, abs=2)  # seconds: a tenth of the deadline
    waiter.until(after(5000), peer)
    assert signs[-1] < clock.now - 1


def test_the_peer_is_asked_for_only_at_the_deadline(clock):
    def fail() -> str:
        raise AssertionError

    Waiter(10.0).until(after(1000), fail)


def test_a_rank_with_a_core_of_its_own_polls_before_it_sleeps(clock):
    Waiter(10.0, crowded=False).until(after(wait.SPINS - 1), peer)
    assert clock.sleeps == [] and clock.yields == 0
    Waiter(10.0, crowded=False).until(after(wait.SPINS + 10), peer)
    assert clock.sleeps


def test_a_rank_that_shares_its_core_gives_way_at_once(clock):
    Waiter(10.0, crowded=True).until(after(100), peer)
    assert clock.yields == wait.YIELDS - 1 and len(clock.sleeps) > 90


def test_a_partition_with_a_core_gives_turns_for_a_while_before_it_sleeps(clock):
    Waiter(10.0, crowded=True, yields_s=1e-3).until(after(100), peer)
    assert clock.yields > 90 and clock.sleeps == []
    Waiter(10.0, crowded=True, yields_s=1e-3).until(after(2000), peer)
    assert clock.sleeps


def test_sleeps_grow_and_stay_short(clock):
    with pytest.raises(PeerSilent):
        Waiter(1.0).until(lambda: False, peer)
    assert clock.sleeps == sorted(clock.sleeps)
    assert clock.sleeps[0] == wait.SHORTEST_SLEEP_S and clock.sleeps[-1] == wait.LONGEST_SLEEP_S


def test_seconds_waited_are_counted_until_taken(clock):
    waiter = Waiter(10.0)
    before = clock.now
    waiter.until(after(50), peer)
    waiter.until(after(50), peer)
    between = clock.now
    waiter.until(after(50), peer, cause=Cause.STATES)
    waited, _ = waiter.take_waited()
    assert waited[Cause.FETCH] == pytest.approx(between - before, rel=0.05)
    assert waited[Cause.STATES] == pytest.approx(clock.now - between, rel=0.05)
    assert not any(waiter.take_waited()[0])


def test_an_error_while_polling_passes():
    with pytest.raises(ZeroDivisionError):
        Waiter(10.0).until(lambda: 1 // 0, peer)


def test_idle_sleeps_longer_the_longer_it_is_quiet(clock):
    idle = IdleBackoff()
    for _ in range(2000):
        idle.rest()
    assert clock.sleeps == sorted(clock.sleeps)
    assert clock.sleeps[0] == wait.SHORTEST_SLEEP_S and clock.sleeps[-1] == wait.IDLE_SLEEP_S
    idle.busy()
    idle.rest()
    assert clock.sleeps[-1] == wait.SHORTEST_SLEEP_S


def test_an_idle_loop_is_quick_for_as_long_as_it_was_busy_just_before(clock):
    idle = IdleBackoff()
    while clock.now < 1e-3:
        idle.rest()
    assert max(clock.sleeps) <= 0.11e-3  # a tenth of the quiet: little latency is added


def test_a_resting_loop_wakes_seldom(clock):
    """Some tens of microseconds each: little of a core, which tests/system measures."""
    idle = IdleBackoff()
    while clock.now < 0.5:
        idle.rest()
    assert len(clock.sleeps) < 500


def test_a_loop_that_expects_a_message_gives_turns_before_it_sleeps(clock):
    idle = IdleBackoff()
    while not clock.sleeps:
        idle.rest(expecting=True)
    assert clock.yields > 100 and clock.now >= wait.YIELDS_S
    idle.busy()
    idle.rest()
    assert len(clock.sleeps) == 2
