"""The scheduler of a pass: whatever is slow, duplicated, late or dead, each portion counts exactly once."""

import random
from collections import Counter, deque
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dbmpi.sandblaster.pass_scheduler import (
    DEPTH,
    Act,
    Action,
    PassScheduler,
    Rules,
    State,
    first_homes,
    homes_of,
)


class Yard:
    """Replicas and shards that do what the scheduler says, each thing when the test says so.

    It counts on its own: `counted` is what the shards have added up, portion by portion. With `delays`
    messages between scheduler and replicas take their time both ways; without, they arrive at once.
    """

    def __init__(self, homes: list[list[int]], rules: Rules, delays: bool = False) -> None:
        self.scheduler, self.delays = PassScheduler(homes, rules), delays
        replicas = range(len(homes))
        self.orders: list[deque[Action]] = [deque() for _ in replicas]
        self.reports: list[deque[tuple[str, int]]] = [deque() for _ in replicas]
        self.work: list[deque[int]] = [deque() for _ in replicas]
        self.undecided: list[list[int]] = [[] for _ in replicas]
        self.accrued: list[list[int]] = [[] for _ in replicas]
        self.flying: list[list[int]] = [[] for _ in replicas]
        self.dropped: list[set[int]] = [set() for _ in replicas]
        self.alive = [True for _ in replicas]
        self.counted: list[int] = []
        self.pushes: list[tuple[int, list[int]]] = []
        self.given: list[Action] = []
        self._act()

    def moves(self) -> list[tuple[str, int]]:
        """What may happen next."""
        ready = {"order": self.orders, "report": self.reports, "compute": self.work, "arrive": self.flying}
        alive = [r for r, here in enumerate(self.alive) if here]
        return [(what, r) for what, where in ready.items() for r in alive if where[r]]

    def move(self, what: str, replica: int) -> None:
        """Let one thing happen."""
        if what == "order":
            self._obey(self.orders[replica].popleft())
        elif what == "report":
            self._tell(replica, *self.reports[replica].popleft())
        elif what == "compute":
            self._compute(replica, self.work[replica].popleft())
        else:
            self.counted += self.flying[replica]
            self.flying[replica] = []
            self.reports[replica].append(("pushed", -1))
        self._deliver()

    def die(self, replica: int, counted: bool) -> None:
        """A replica dies; its push, if one is under way, has reached all shards or only some."""
        self.alive[replica] = False
        self.counted += self.flying[replica] if counted else []
        self.scheduler.died(replica)
        self._act()

    def _deliver(self) -> None:
        while not self.delays and (now := [m for m in self.moves() if m[0] in ("order", "report")]):
            what, replica = now[0]
            if what == "order":
                self._obey(self.orders[replica].popleft())
            else:
                self._tell(replica, *self.reports[replica].popleft())

    def _act(self) -> None:
        for action in self.scheduler.actions():
            assert self.alive[action.replica], f"{action} to a dead replica"
            self.orders[action.replica].append(action)
        self._deliver()

    def _tell(self, replica: int, what: str, portion: int) -> None:
        if what == "pushed":
            self.scheduler.pushed(replica)
        else:
            getattr(self.scheduler, what)(replica, portion)
        self._act()

    def _compute(self, replica: int, portion: int) -> None:
        if portion in self.dropped[replica]:
            self.dropped[replica].discard(portion)
            self.reports[replica].append(("gave_up", portion))
        else:
            self.undecided[replica].append(portion)
            self.reports[replica].append(("finished", portion))

    def _obey(self, action: Action) -> None:
        replica, portion = action.replica, action.portion
        if action.act in (Act.GIVE, Act.COPY):
            self.given.append(action)
            assert portion not in self.dropped[replica]
            self.work[replica].append(portion)
            assert len(self.work[replica]) + len(self.undecided[replica]) <= DEPTH
        elif action.act is Act.ACCEPT:
            self.undecided[replica].remove(portion)
            self.accrued[replica].append(portion)
        elif action.act is Act.PUSH:
            assert self.accrued[replica] and not self.flying[replica]
            self.flying[replica], self.accrued[replica] = self.accrued[replica], []
            self.pushes.append((replica, self.flying[replica]))
        elif portion in self.undecided[replica]:
            self.undecided[replica].remove(portion)
        else:
            self.dropped[replica].add(portion)


def run(yard: Yard, pick: Any, most: int = 10_000) -> None:
    """Let things happen until the pass is done, or broken."""
    for _ in range(most):
        if yard.scheduler.done or yard.scheduler.broken:
            return
        moves = yard.moves()
        assert moves, f"nothing can happen, and the pass is not done: {yard.scheduler.states}"
        yard.move(*moves[pick(len(moves))])
    raise AssertionError("the pass does not end")


RULES = st.builds(Rules, push_every=st.integers(1, 5), backup=st.booleans(), deterministic=st.booleans())


@settings(max_examples=300)
@given(replicas=st.integers(1, 5), portions=st.integers(1, 25), rules=RULES, data=st.data())
def test_every_portion_counts_exactly_once_under_any_schedule(replicas, portions, rules, data):
    yard = Yard(first_homes(portions, replicas), rules, delays=True)
    run(yard, lambda n: data.draw(st.integers(0, n - 1)))
    assert Counter(yard.counted) == Counter(range(portions))
    assert set(yard.scheduler.states) == {State.DONE}
    assert not any(yard.accrued) and not any(yard.flying)


@settings(max_examples=400)
@given(
    replicas=st.integers(2, 5),
    portions=st.integers(1, 20),
    rules=RULES,
    seed=st.integers(0, 1 << 30),
    deaths=st.integers(1, 4),
)
def test_every_portion_counts_exactly_once_although_replicas_die(replicas, portions, rules, seed, deaths):
    """Or the pass is broken, and counts for nothing."""
    draw = random.Random(seed)
    yard = Yard(first_homes(portions, replicas), rules, delays=True)
    left = min(deaths, replicas - 1)
    for _ in range(10_000):
        if yard.scheduler.done or yard.scheduler.broken:
            break
        if left and draw.random() < 0.05:
            yard.die(draw.choice([r for r, here in enumerate(yard.alive) if here]), draw.random() < 0.5)
            left -= 1
            continue
        moves = yard.moves()
        assert moves, f"nothing can happen, and the pass is not done: {yard.scheduler.states}"
        yard.move(*draw.choice(moves))
    assert yard.scheduler.broken or Counter(yard.counted) == Counter(range(portions))


def test_a_replica_s_own_portions_come_first_and_in_order():
    yard = Yard([[3, 4, 5], [0, 1, 2]], Rules(push_every=4))
    for replica in (0, 1):
        yard.move("compute", replica)
    assert [a.portion for a in yard.given if a.replica == 0 and a.act is Act.GIVE] == [3, 4, 5]
    assert [a.portion for a in yard.given if a.replica == 1 and a.act is Act.GIVE] == [0, 1, 2]


def test_a_replica_has_its_next_portion_while_it_computes():
    yard = Yard(first_homes(20, 4), Rules(push_every=4))
    assert [len(work) for work in yard.work] == [DEPTH] * 4


def test_a_fast_replica_takes_from_the_end_of_the_longest_queue():
    yard = Yard([[0, 1], [2, 3, 4, 5, 6, 7]], Rules(push_every=100))
    yard.move("compute", 0)
    assert yard.given[-1] == Action(Act.GIVE, 0, 7)


def test_copies_of_the_oldest_go_to_the_idle_and_the_first_to_finish_wins():
    yard = Yard([[0, 1], [2, 3]], Rules(push_every=100))
    yard.move("compute", 0)
    yard.move("compute", 0)
    assert yard.given[-1] == Action(Act.COPY, 0, 2)
    yard.move("compute", 0)
    assert yard.scheduler.winners == [0, 0, 0, -1] and yard.dropped[1] == {2}
    assert yard.given[-1] == Action(Act.COPY, 0, 3)
    yard.move("compute", 1)  # it gives up portion 2, and goes on with 3
    yard.move("compute", 1)
    assert yard.scheduler.winners == [0, 0, 0, 1]
    assert yard.flying == [[0, 1, 2], [3]]


def test_without_backup_nobody_gets_a_copy():
    yard = Yard([[0, 1], [2, 3]], Rules(push_every=100, backup=False))
    yard.move("compute", 0)
    yard.move("compute", 0)
    assert not yard.work[0] and all(a.act is Act.GIVE for a in yard.given)


def test_pushes_come_after_so_many_portions_and_at_the_end():
    yard = Yard([list(range(7))], Rules(push_every=3))
    run(yard, lambda n: n - 1)
    assert [portions for _, portions in yard.pushes] == [[0, 1, 2], [3, 4, 5], [6]]


def test_a_second_push_waits_for_the_first():
    yard = Yard([list(range(6))], Rules(push_every=2))
    for _ in range(6):
        yard.move("compute", 0)
    assert yard.flying[0] == [0, 1] and yard.accrued[0] == [2, 3, 4, 5]
    yard.move("arrive", 0)
    assert yard.flying[0] == [2, 3, 4, 5]


@settings(max_examples=100)
@given(replicas=st.integers(1, 4), portions=st.integers(1, 20), every=st.integers(1, 4), data=st.data())
def test_deterministic_passes_push_the_same_sums_in_the_same_order(replicas, portions, every, data):
    homes = first_homes(portions, replicas)
    yard = Yard(homes, Rules(push_every=every, deterministic=True))
    run(yard, lambda n: data.draw(st.integers(0, n - 1)))
    groups = [[home[i : i + every] for i in range(0, len(home), every)] for home in homes]
    expected = [
        (r, groups[r][k]) for k in range(max(map(len, groups))) for r in range(replicas) if k < len(groups[r])
    ]
    assert yard.pushes == expected
    assert not any(a.act is Act.COPY for a in yard.given)


def test_what_a_dead_replica_accrued_is_computed_again():
    yard = Yard([[0, 1], [2, 3]], Rules(push_every=100))
    yard.move("compute", 0)
    yard.move("compute", 0)
    assert yard.accrued[0] == [0, 1]
    yard.die(0, counted=False)
    run(yard, lambda n: 0)
    assert sorted(yard.counted) == [0, 1, 2, 3] and yard.scheduler.winners == [1, 1, 1, 1]


def test_a_replica_is_not_given_again_what_it_was_told_to_drop_and_has_not_answered_for():
    yard = Yard([[0, 1], [2, 3]], Rules(push_every=100))
    for _ in range(3):
        yard.move("compute", 1)  # 2 and 3, and its copy of 0
    assert yard.dropped[0] == {0} and list(yard.work[0]) == [0, 1]
    yard.die(1, counted=False)  # 0, 2 and 3 are to be done again
    assert list(yard.work[0]) == [0, 1]
    yard.move("compute", 0)
    assert 0 not in yard.undecided[0] + yard.accrued[0]
    run(yard, lambda n: 0)
    assert Counter(yard.counted) == Counter(range(4))


def test_a_result_that_was_dropped_does_not_count_when_its_portion_is_outstanding_again():
    scheduler = PassScheduler([[0], [1], []], Rules(push_every=100))
    assert Action(Act.COPY, 2, 0) in list(scheduler.actions())
    scheduler.finished(2, 0)
    assert Action(Act.DROP, 0, 0) in list(scheduler.actions())
    scheduler.died(2)
    assert list(scheduler.actions()) == [Action(Act.GIVE, 1, 0)]
    scheduler.finished(0, 0)  # sent before the order to drop it came
    assert Action(Act.ACCEPT, 0, 0) not in list(scheduler.actions())
    scheduler.finished(1, 0)
    assert Action(Act.ACCEPT, 1, 0) in list(scheduler.actions())


def test_a_portion_that_only_losers_have_is_queued_again():
    scheduler = PassScheduler([[0], [1], []], Rules(push_every=100))
    list(scheduler.actions())
    scheduler.finished(2, 0)
    list(scheduler.actions())
    scheduler.died(2)
    list(scheduler.actions())  # replica 1 has it; replica 0 was told to drop it, and has not answered
    scheduler.died(1)
    assert scheduler.states[0] is State.QUEUED
    scheduler.gave_up(0, 0)
    assert Action(Act.GIVE, 0, 0) in list(scheduler.actions())


def test_a_death_in_the_middle_of_a_push_breaks_the_pass():
    yard = Yard([[0], [1, 2, 3]], Rules(push_every=1))
    yard.move("compute", 0)
    yard.die(0, counted=False)
    assert yard.scheduler.broken


def test_portions_stay_with_who_did_them_last():
    assert homes_of([1, 0, 1, 1], 3) == [[1], [0, 2, 3], []]
    assert first_homes(5, 2) == [[0, 1, 2], [3, 4]]


@pytest.mark.parametrize("replicas", [1, 3])
def test_more_replicas_than_portions(replicas):
    yard = Yard(first_homes(1, replicas), Rules(push_every=4))
    run(yard, lambda n: n - 1)
    assert yard.counted == [0]
