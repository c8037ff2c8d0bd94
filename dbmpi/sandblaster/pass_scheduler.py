"""The schedule of one pass over the batch: which replica does what, and each portion counts once. Pure.

A portion goes through these states:

    queued       nobody has it: in the queue of a replica, its home
    outstanding  one replica, or several (backup copies), compute it
    accepted     the first of them has finished it; its gradient is in that replica's accrued sum
    pushed       ... which is on its way to the shards
    done         all shards have acknowledged the push

A replica takes the portions of its own queue first, in order; when that is empty, from the end of the
longest other one; and when all are empty, copies of what has been outstanding longest (Dean et al. 2012,
section 4.2). A replica that dies takes nothing with it: what it has not pushed goes back to the queues.
Only when it dies in the middle of a push is it unknown which shards have counted it: the pass is then
`broken`, and has to be begun again, under another number, so that the shards forget.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from dbmpi.layout.boxes import balanced

DEPTH = 2  # portions that a replica has at once, so that none waits for the next


class State(Enum):
    """How far a portion is."""

    QUEUED = "queued"
    OUTSTANDING = "outstanding"
    ACCEPTED = "accepted"
    PUSHED = "pushed"
    DONE = "done"


class Act(Enum):
    """What the coordinator shall tell a replica."""

    GIVE = "give"  # compute a portion
    COPY = "copy"  # compute a portion that another one has too
    ACCEPT = "accept"  # add its gradient to the accrued sum
    DROP = "drop"  # forget it: another was first
    PUSH = "push"  # push the accrued sum


@dataclass(frozen=True)
class Action:
    """One thing to tell one replica; `portion` is -1 for a push."""

    act: Act
    replica: int
    portion: int = -1


@dataclass(frozen=True)
class Rules:
    """How a pass is done: section `sandblaster` of the configuration.

    With `deterministic`, each replica does its own queue alone, and the pushes come in a fixed order:
    the first of every replica, then the second of every replica, and so on. So the sum does not
    depend on which replica is faster.
    """

    push_every: int
    backup: bool = True
    deterministic: bool = False


class PassScheduler:
    """Hands out the portions of one pass and accounts for them.

    Tell it what happened (`finished`, `pushed`, `died`), then do what `actions` says.

    Parameters
    ----------
    homes
        For each replica its queue, of portion numbers: together each of 0, 1, ..., K - 1 once.
    rules
        How to do the pass.
    """

    def __init__(self, homes: Sequence[Sequence[int]], rules: Rules) -> None:
        self._rules, self._queues = rules, [deque(home) for home in homes]
        portions = sum(map(len, homes))
        self.states = [State.QUEUED] * portions
        self.winners = [-1] * portions
        self._holders: list[list[int]] = [[] for _ in range(portions)]
        self._dropped: set[tuple[int, int]] = set()  # holders that were told so, and have not answered for it
        self._held = [0] * len(homes)  # how many a replica is a holder of
        self._unaccepted = portions
        self._undone = portions
        self._age: list[int] = []  # outstanding portions, the oldest first
        self._finished: list[deque[int]] = [deque() for _ in homes]  # and not yet judged
        self._accrued: list[list[int]] = [[] for _ in homes]
        self._flying: list[list[int]] = [[] for _ in homes]
        self._alive = [True] * len(homes)
        self._turns = _turns(homes, rules) if rules.deterministic else None
        self.broken = False

    @property
    def done(self) -> bool:
        """Whether every portion is done."""
        return self._undone == 0

    def finished(self, replica: int, portion: int) -> None:
        """A replica has computed a portion that it holds, and asks whether it counts."""
        self._finished[replica].append(portion)

    def gave_up(self, replica: int, portion: int) -> None:
        """A replica was told to drop a portion, and has stopped computing it."""
        self._release(replica, portion)

    def pushed(self, replica: int) -> None:
        """All shards have acknowledged a replica's push."""
        for portion in self._flying[replica]:
            self.states[portion] = State.DONE
        self._undone -= len(self._flying[replica])
        self._flying[replica] = []

    def died(self, replica: int) -> None:
        """A replica is gone: what it had and did not push goes back to the queue of another."""
        self._alive[replica] = False
        self._turns = None  # the fixed order is gone with it
        self.broken |= bool(self._flying[replica])
        self._finished[replica].clear()
        back = self._accrued[replica] + list(self._queues[replica])
        self._unaccepted += len(self._accrued[replica])
        for portion in [p for p, holders in enumerate(self._holders) if replica in holders]:
            self._release(replica, portion)
            if self.states[portion] is State.OUTSTANDING and not self._computed(portion):
                self._age.remove(portion)
                back.append(portion)
        self._accrued[replica] = []
        self._queues[replica].clear()
        self._requeue(back)

    def _computed(self, portion: int) -> bool:
        """Return whether a replica computes a portion and was not told to drop it."""
        return any((holder, portion) not in self._dropped for holder in self._holders[portion])

    def actions(self) -> Iterator[Action]:
        """Yield what to tell the replicas now; each action has taken effect here when it is yielded."""
        for replica in self._living():
            yield from self._judge(replica)
        for replica in self._living():
            if self._push_is_due(replica):
                yield self._push(replica)
                yield from self._judge(replica)  # in a fixed order, the next group may begin
        for _ in range(DEPTH):
            for replica in self._living():
                yield from self._hand_out(replica)

    def abandon(self) -> Iterator[Action]:
        """Yield whom to tell to drop what, when the pass ends and nobody waits for it any more."""
        for portion in range(len(self.states)):
            yield from self._drop(portion)

    # -- judging -------------------------------------------------------------------------------------------

    def _judge(self, replica: int) -> Iterator[Action]:
        """Accept what a replica has finished, unless another was first."""
        while self._finished[replica]:
            portion = self._finished[replica][0]
            if (replica, portion) in self._dropped:  # even if it is outstanding again: its gradient is gone
                self._finished[replica].popleft()
                self._release(replica, portion)
            elif self._turns and len(self._accrued[replica]) == self._rules.push_every:
                return  # the sum is complete, and waits for its turn
            else:
                self._finished[replica].popleft()
                yield from self._accept(replica, portion)

    def _accept(self, replica: int, portion: int) -> Iterator[Action]:
        self.states[portion], self.winners[portion] = State.ACCEPTED, replica
        self._unaccepted -= 1
        self._age.remove(portion)
        self._accrued[replica].append(portion)
        self._release(replica, portion)
        yield Action(Act.ACCEPT, replica, portion)
        yield from self._drop(portion)

    def _drop(self, portion: int) -> Iterator[Action]:
        """Tell the replicas that hold a portion, and have not been told yet."""
        for holder in self._holders[portion]:
            if (holder, portion) not in self._dropped:
                self._dropped.add((holder, portion))
                yield Action(Act.DROP, holder, portion)

    def _release(self, replica: int, portion: int) -> None:
        self._dropped.discard((replica, portion))
        if replica in self._holders[portion]:
            self._holders[portion].remove(replica)
            self._held[replica] -= 1

    # -- pushing -------------------------------------------------------------------------------------------

    def _push_is_due(self, replica: int) -> bool:
        waiting = len(self._accrued[replica])
        if not waiting or self._flying[replica]:
            return False
        if self._turns:
            return self._turns[0] == (replica, waiting) and not any(self._flying)
        return waiting >= self._rules.push_every or self._unaccepted == 0

    def _push(self, replica: int) -> Action:
        if self._turns:
            self._turns.popleft()
        self._flying[replica], self._accrued[replica] = self._accrued[replica], []
        for portion in self._flying[replica]:
            self.states[portion] = State.PUSHED
        return Action(Act.PUSH, replica)

    # -- handing out ---------------------------------------------------------------------------------------

    def _hand_out(self, replica: int) -> Iterator[Action]:
        """Give a replica one more portion if it has room; a copy if it is idle and nothing else is left."""
        if self._held[replica] >= DEPTH:
            return
        portion = self._take(replica)
        if portion is not None:
            self.states[portion] = State.OUTSTANDING
            self._age.append(portion)
            self._hold(replica, portion)
            yield Action(Act.GIVE, replica, portion)
        elif not self._held[replica] and self._rules.backup and not self._rules.deterministic:
            yield from self._copy(replica)

    def _hold(self, replica: int, portion: int) -> None:
        self._holders[portion].append(replica)
        self._held[replica] += 1

    def _take(self, replica: int) -> int | None:
        """Take from the front of one's own queue, or from the back of the longest other one."""
        mine = next((p for p in self._queues[replica] if replica not in self._holders[p]), None)
        if mine is not None:
            self._queues[replica].remove(mine)
            return mine
        if self._turns is not None:
            return None
        longest = max(self._queues, key=len)
        # What it was told to drop and has not answered for, it cannot be given again.
        other = next((p for p in reversed(longest) if replica not in self._holders[p]), None)
        if other is not None:
            longest.remove(other)
        return other

    def _copy(self, replica: int) -> Iterator[Action]:
        """Give a copy of what fewest replicas have, and has been out longest."""
        portion = min(self._age, key=lambda p: len(self._holders[p]), default=None)
        if portion is not None:
            self._hold(replica, portion)
            yield Action(Act.COPY, replica, portion)

    def _requeue(self, portions: list[int]) -> None:
        """Put portions back, each into the shortest queue of a living replica."""
        for portion in portions:
            self.states[portion], self.winners[portion] = State.QUEUED, -1
            living = [self._queues[r] for r in self._living()]
            if living:
                min(living, key=len).append(portion)

    def _living(self) -> list[int]:
        return [replica for replica, alive in enumerate(self._alive) if alive]


def _turns(homes: Sequence[Sequence[int]], rules: Rules) -> "deque[tuple[int, int]]":
    """Return the fixed order of pushes: replica, and portions in the push."""
    most = max(map(len, homes))
    return deque(
        (replica, min(rules.push_every, len(home) - first))
        for first in range(0, most, rules.push_every)
        for replica, home in enumerate(homes)
        if first < len(home)
    )


def first_homes(portions: int, replicas: int) -> list[list[int]]:
    """Give each replica a stretch of consecutive portions."""
    return [list(range(start, stop)) for start, stop in balanced(portions, replicas)]


def homes_of(winners: Sequence[int], replicas: int) -> list[list[int]]:
    """Give each portion to the replica that did it last, and has its data in memory."""
    homes: list[list[int]] = [[] for _ in range(replicas)]
    for portion, winner in enumerate(winners):
        homes[winner].append(portion)
    return homes
