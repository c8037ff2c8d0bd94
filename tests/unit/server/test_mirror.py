"""Mirrors: half of one is never used, and what is adopted is what was copied."""

from typing import Any

import numpy as np
import pytest

from dbmpi.checkpoint.vector_names import PARAMETER_VECTOR, UPDATES, rule_vector
from dbmpi.comm.protocol import Status
from dbmpi.config.algorithms import Downpour
from dbmpi.layout.sharding import Owners, Piece, cut, of_shard
from dbmpi.server import rules, transfer
from dbmpi.server.mirror import Mirror
from dbmpi.server.shard import Shard
from dbmpi.server.transfer import Layout, Receiving
from tests.doubles.fake_mpi import Comm, tell

PIECES = cut([50, 30], 3, 16)
DTYPE = np.dtype("f8")
NAMES = (PARAMETER_VECTOR, rule_vector("squares"))
SETTINGS = Downpour(rule="adagrad")


def shard_of(index: int) -> Shard:
    """A shard whose every element is another number."""
    pieces = of_shard(PIECES, index)
    values = {piece: np.arange(piece.size) + 100.0 * piece.index for piece in pieces}
    made = Shard(index, values, rules.make(SETTINGS), SETTINGS)
    for held in made.held.values():
        held.states[0][...] = held.value / 3
    return made


def layout_of(index: int) -> Layout:
    return Layout(of_shard(PIECES, index), NAMES, DTYPE)


def parts_of(layout: Layout, mark: float) -> list[Any]:
    """The messages of a mirror in which every number is `mark`."""
    copy = layout.room([])
    for values in copy.values():
        values[...] = mark
    return list(layout.stretches(copy))


@pytest.fixture
def comm(monkeypatch: pytest.MonkeyPatch) -> Comm:
    monkeypatch.setattr(transfer, "STRETCH_BYTES", 80)
    made = Comm()
    tell(monkeypatch, made)
    return made


def test_messages_cover_the_copy_and_none_is_larger_than_a_stretch(comm: Comm) -> None:
    shard, layout = shard_of(1), layout_of(1)
    copy = shard.snapshot(None)
    updates, *parts = layout.stretches(copy)
    assert updates is copy[UPDATES] and len(updates) == len(shard.held)
    assert all(0 < part.nbytes <= 80 for part in parts)
    assert np.array_equal(np.concatenate(parts), np.concatenate([copy[name] for name in NAMES]))
    assert all(np.shares_memory(part, copy[NAMES[0]]) for part in parts[: len(parts) // 2])


def test_what_is_there_is_always_the_last_whole_mirror(comm: Comm) -> None:
    layout = layout_of(0)
    parts = len(parts_of(layout, 0))
    receiving = Receiving(comm, 0, 0, layout.pieces)  # type: ignore[arg-type]
    assert parts > 3
    for mark in range(1, 5):
        receiving.expect(NAMES, DTYPE, mark)
        for n, part in enumerate(parts_of(layout, mark)):
            receiving.poll(10.0 * mark + n)
            whole = receiving.whole
            assert (whole is None) == (mark == 1)
            if whole is not None:
                assert whole.number == mark - 1
                assert all((values == mark - 1).all() for values in whole.copy.values())
            comm.give(0, 0, part)
        receiving.poll(10.0 * mark + parts)
        assert not receiving.busy
    assert receiving.whole is not None and receiving.whole.taken_at == 41.0  # when its first part was seen
    assert all((values == 4).all() for values in receiving.whole.copy.values())


@pytest.mark.parametrize("arrived", range(5))
def test_a_death_leaves_the_last_whole_mirror(comm: Comm, arrived: int) -> None:
    layout = layout_of(0)
    receiving = Receiving(comm, 0, 0, layout.pieces)  # type: ignore[arg-type]
    receiving.expect(NAMES, DTYPE)
    for part in parts_of(layout, 1):
        comm.give(0, 0, part)
    receiving.poll(1.0)
    receiving.expect(NAMES, DTYPE)
    for part in parts_of(layout, 2)[:arrived]:
        comm.give(0, 0, part)
    comm.dead.add(0)
    for now in (3.0, 4.0):
        receiving.poll(now)
        assert receiving.lost and receiving.whole is not None
        assert all((values == 1).all() for values in receiving.whole.copy.values())


def mirror_at(comm: Comm, index: int) -> Mirror:
    return Mirror(comm, index, Owners(3), PIECES, NAMES, DTYPE, 10.0)  # type: ignore[arg-type]


def test_a_mirror_leaves_every_interval_and_not_before_the_last_has_left(comm: Comm) -> None:
    one, shard = mirror_at(comm, 1), shard_of(1)
    one.poll(0.0, lambda: shard.snapshot(None))
    messages = comm.waiting(2, 0)
    assert messages == len(parts_of(layout_of(1), 0))
    one.poll(20.0, lambda: shard.snapshot(None))
    assert comm.waiting(2, 0) == messages  # the successor has taken nothing yet
    for _ in range(messages):
        comm.take(2, 0, np.uint8)
    one.poll(21.0, lambda: shard.snapshot(None))
    one.poll(22.0, lambda: shard.snapshot(None))
    assert comm.waiting(2, 0) == messages


def test_the_successor_adopts_what_was_copied(comm: Comm) -> None:
    successor, mine, theirs = mirror_at(comm, 1), shard_of(1), shard_of(0)
    gradient = np.ones(PIECES[0].size)
    theirs.push(0, gradient, 0, 0.1)
    successor.poll(0.0, lambda: mine.snapshot(None))
    for part in layout_of(0).stretches(theirs.snapshot(None)):
        comm.give(0, 0, part)
    comm.dead.add(0)
    inherited = successor.fail_over(0, 0.1)
    assert inherited is not None
    pieces, whole, _ = inherited
    assert whole is not None and pieces == of_shard(PIECES, 0)
    assert mine.adopt(pieces, whole.copy) == 1
    assert list(mine.held) == [p.index for p in PIECES if p.shard in (0, 1)]
    for piece, held in theirs.held.items():
        assert np.array_equal(mine.held[piece].value, held.value)
        assert np.array_equal(mine.held[piece].states[0], held.states[0])
    assert mine.held[0].version == 1
    assert mine.push(0, gradient, 9, 0.1) is Status.OK  # computed from updates that are lost
    assert mine.tally.staleness_max == 0 and mine.report()["updates"] == 2
    # The next mirror has it all, for the shard after, with a tag of its own.
    successor.poll(20.0, lambda: mine.snapshot(None))
    sizes = sum(2 * 8 * piece.size for piece in PIECES if piece.shard in (0, 1))
    sent = [request.buffer.nbytes for request in comm.sent[2, 1]]
    assert sum(sent) == sizes + 8 * len(mine.held)


def test_without_a_whole_mirror_there_is_none_to_adopt(comm: Comm) -> None:
    successor = mirror_at(comm, 1)
    successor.poll(0.0, lambda: shard_of(1).snapshot(None))
    comm.give(0, 0, parts_of(layout_of(0), 1)[0])
    comm.dead.add(0)
    inherited = successor.fail_over(0, 0.1)
    assert inherited is not None and inherited[1] is None


def test_others_begin_anew_only_where_they_are_concerned(comm: Comm) -> None:
    other, shard = mirror_at(comm, 2), shard_of(2)
    other.poll(0.0, lambda: shard.snapshot(None))  # to shard 0
    comm.dead.add(0)
    assert other.fail_over(0, 1.0) is None
    other.poll(1.0, lambda: shard.snapshot(None))
    assert comm.waiting(1, 1) == len(parts_of(layout_of(2), 0))  # at once: 1 has nothing of it
    assert all(request.cancelled for request in comm.expected[1, 0])  # 1 has more pieces now
    assert comm.expected[1, 1]


def test_a_shard_that_is_left_alone_mirrors_nothing(comm: Comm) -> None:
    pieces = cut([50], 2, 16)
    last = Mirror(comm, 1, Owners(2), pieces, NAMES, DTYPE, 10.0)  # type: ignore[arg-type]
    last.fail_over(0, 0.0)
    last.poll(1.0, lambda: {})
    assert not comm.sent and all(one.cancelled for all_of in comm.expected.values() for one in all_of)


def test_pieces_of_the_dead_count_on_from_a_checkpoint(comm: Comm) -> None:
    mine, theirs = shard_of(1), shard_of(0)
    for shard in (mine, theirs):
        shard.restore([7] * len(PIECES))
    theirs.push(0, np.ones(PIECES[0].size), 7, 0.1)
    pieces: tuple[Piece, ...] = of_shard(PIECES, 0)
    assert mine.adopt(pieces, theirs.snapshot(None)) == 1
    assert mine.report()["updates"] == 1


def order_at(one: Mirror, shard: Shard, number: int, names: tuple[str, ...], anew: bool = False) -> Any:
    """Order a mirror of some vectors, and return what was copied."""
    wanted = (*names, UPDATES)
    copy = {name: values for name, values in shard.snapshot(None).items() if name in wanted}
    one.order(number, copy, anew)
    return copy


def test_what_is_ordered_replaces_its_vectors_in_the_mirror_and_no_others(comm: Comm) -> None:
    successor, mine, theirs, layout = mirror_at(comm, 1), shard_of(1), shard_of(0), layout_of(0)
    order_at(successor, mine, 1, NAMES, anew=True)
    assert successor.take_done() is None
    for part in parts_of(layout, 1):
        comm.give(0, 1, part)
    successor.poll(1.0, dict)
    assert successor.take_done() is None  # its own has not left yet
    for _ in range(comm.waiting(2, 1)):
        comm.take(2, 1, np.uint8)
    successor.poll(2.0, dict)
    assert successor.take_done() == 1 and successor.take_done() is None
    order_at(successor, mine, 2, NAMES[:1])
    first = Layout(of_shard(PIECES, 0), NAMES[:1], DTYPE)
    for part in first.stretches(theirs.snapshot(None)):
        comm.give(0, 1, part)
    comm.dead.add(0)
    inherited = successor.fail_over(0, 3.0)
    assert inherited is not None and inherited[1] is not None and inherited[1].number == 2
    whole = inherited[1].copy
    assert np.array_equal(whole[NAMES[0]], theirs.snapshot(None)[NAMES[0]]) and (whole[NAMES[1]] == 1).all()


@pytest.mark.parametrize("arrived", range(4))
def test_half_of_what_is_ordered_is_never_used(comm: Comm, arrived: int) -> None:
    successor, mine = mirror_at(comm, 1), shard_of(1)
    order_at(successor, mine, 1, NAMES, anew=True)
    for part in parts_of(layout_of(0), 1):
        comm.give(0, 1, part)
    successor.poll(1.0, dict)
    order_at(successor, mine, 2, NAMES)
    for part in parts_of(layout_of(0), 2)[:arrived]:
        comm.give(0, 1, part)
    comm.dead.add(0)
    inherited = successor.fail_over(0, 3.0)
    assert inherited is not None and inherited[1] is not None and inherited[1].number == 1
    assert all((values == 1).all() for values in inherited[1].copy.values())
    assert successor.take_done() is None


def test_after_a_death_nothing_is_mirrored_until_all_of_it_is_ordered(comm: Comm) -> None:
    other, shard = mirror_at(comm, 2), shard_of(2)
    order_at(other, shard, 1, NAMES, anew=True)
    for part in parts_of(layout_of(1), 1):
        comm.give(1, 1, part)
    other.poll(1.0, dict)
    comm.dead.add(0)
    assert other.fail_over(0, 2.0) is None
    other.poll(100.0, lambda: shard.snapshot(None))  # not by the clock either
    assert not any(comm.waiting(1, tag) for tag in range(2, 9))
    inherited = other.fail_over(1, 3.0)  # which had got more pieces by then
    assert inherited is not None and inherited[1] is None


def test_another_death_at_once_finds_the_mirror_that_it_does_not_concern(comm: Comm) -> None:
    pieces = cut([50, 30], 4, 16)
    one = Mirror(comm, 2, Owners(4), pieces, NAMES, DTYPE, 10.0)  # type: ignore[arg-type]
    shard = Shard(2, {p: np.zeros(p.size) for p in of_shard(pieces, 2)}, rules.make(SETTINGS), SETTINGS)
    order_at(one, shard, 1, NAMES, anew=True)
    for part in parts_of(Layout(of_shard(pieces, 1), NAMES, DTYPE), 1):
        comm.give(1, 1, part)
    one.poll(1.0, dict)
    comm.dead |= {3, 1}
    assert one.fail_over(3, 2.0) is None  # 0 goes on for it
    inherited = one.fail_over(1, 2.0)
    assert inherited is not None and inherited[1] is not None and inherited[1].number == 1
