"""Which shard serves what after deaths: always a living one, the one that holds the mirror."""

from hypothesis import given
from hypothesis import strategies as st

from dbmpi.layout.sharding import Owners, cut, of_shard


def test_the_successor_is_the_next_in_the_ring() -> None:
    owners = Owners(4)
    assert [owners.successor(i) for i in range(4)] == [1, 2, 3, 0]
    assert [owners.before(i) for i in range(4)] == [3, 0, 1, 2]
    assert owners.mark_dead(3) == 0
    assert owners.mark_dead(0) == 1  # with what it had of 3
    assert [owners.of(i) for i in range(4)] == [1, 1, 2, 1]
    assert owners.living == [1, 2] and owners.successor(2) == 1 and owners.before(1) == 2
    owners.mark_dead(1)
    assert owners.successor(2) == owners.before(2) == 2


@given(shards=st.integers(2, 7), draw=st.randoms(use_true_random=False))
def test_every_piece_has_one_living_owner(shards: int, draw: "st.Random") -> None:  # type: ignore[name-defined]
    owners, pieces = Owners(shards), cut([100, 57], shards, 20)
    while len(owners.living) > 1:
        dead = draw.choice(owners.living)
        expected = owners.successor(dead)
        inherited = of_shard(owners.assign(pieces), dead)
        assert owners.before(expected) == dead
        assert owners.mark_dead(dead) == expected
        now = owners.assign(pieces)
        held = [piece.index for shard in owners.living for piece in of_shard(now, shard)]
        assert sorted(held) == [piece.index for piece in pieces]
        mine = {piece.index for piece in of_shard(now, expected)}
        assert {piece.index for piece in inherited} <= mine
        for one, other in zip(owners.living, owners.living[1:], strict=False):
            assert owners.successor(one) == other and owners.before(other) == one
