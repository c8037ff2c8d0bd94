"""Which shard owns what: pieces cover the vector once, balanced, and meet few shards."""

from hypothesis import given
from hypothesis import strategies as st

from dbmpi.layout.sharding import ALIGNMENT, Piece, cut, of_partition, of_shard, shard_bounds

sizes_of = st.lists(st.integers(0, 3000), min_size=1, max_size=8)
shard_counts = st.integers(1, 20) | st.just(500)
piece_limits = st.integers(20, 5000) | st.just(1 << 30)


def global_ranges(pieces: tuple[Piece, ...], sizes: list[int]) -> list[tuple[int, int]]:
    """Return each piece's range in the vector of the whole model."""
    base = [sum(sizes[:p]) for p in range(len(sizes))]
    return [(base[piece.partition] + piece.start, base[piece.partition] + piece.stop) for piece in pieces]


@given(sizes=sizes_of, shards=shard_counts, most=piece_limits)
def test_pieces_cover_the_vector_once_and_in_order(sizes, shards, most):
    pieces = cut(sizes, shards, most)
    ranges = global_ranges(pieces, sizes)
    position = 0
    for start, stop in ranges:
        assert start == position < stop
        position = stop
    assert position == sum(sizes)
    assert [piece.index for piece in pieces] == list(range(len(pieces)))


@given(sizes=sizes_of, shards=shard_counts, most=piece_limits)
def test_pieces_stay_within_partition_shard_and_limit(sizes, shards, most):
    pieces = cut(sizes, shards, most)
    bounds = shard_bounds(sum(sizes), shards)
    for piece, (start, stop) in zip(pieces, global_ranges(pieces, sizes), strict=True):
        assert 0 < piece.size <= most
        assert 0 <= piece.start < piece.stop <= sizes[piece.partition]
        assert bounds[piece.shard] <= start < stop <= bounds[piece.shard + 1]


@given(total=st.integers(0, 10**7), shards=shard_counts)
def test_shards_are_contiguous_aligned_and_balanced(total, shards):
    bounds = shard_bounds(total, shards)
    assert len(bounds) == shards + 1 and bounds[0] == 0 and bounds[-1] == total
    assert bounds == sorted(bounds)
    assert all(bound % ALIGNMENT == 0 or bound == total for bound in bounds)
    lengths = [b - a for a, b in zip(bounds, bounds[1:], strict=False)]
    assert max(lengths) - min(lengths) < 2 * ALIGNMENT


@given(sizes=sizes_of, shards=shard_counts, most=piece_limits)
def test_pieces_are_sorted_by_owner_both_ways(sizes, shards, most):
    pieces = cut(sizes, shards, most)
    assert tuple(p for n in range(len(sizes)) for p in of_partition(pieces, n)) == pieces
    assert {p for s in range(shards) for p in of_shard(pieces, s)} == set(pieces)
    assert sum(len(of_shard(pieces, s)) for s in range(shards)) == len(pieces)
    assert [p.shard for p in pieces] == sorted(p.shard for p in pieces)


@given(sizes=sizes_of, shards=shard_counts)
def test_no_more_pieces_than_the_cuts_make(sizes, shards):
    # Between P - 1 + S - 1 cuts lie at most P + S - 1 pieces: a partition meets few shards.
    assert len(cut(sizes, shards, 1 << 30)) <= len(sizes) + shards - 1


def test_more_shards_than_cache_lines_leave_some_without_parameters():
    pieces = cut([10, 10], 5, 100)
    assert {piece.shard for piece in pieces} <= set(range(5))
    assert sum(piece.size for piece in pieces) == 20
    assert any(not of_shard(pieces, shard) for shard in range(5))


def test_two_partitions_over_three_shards():
    assert cut([48, 48], 3, 1000) == (
        Piece(0, 0, 0, 0, 32),
        Piece(1, 0, 1, 32, 48),
        Piece(2, 1, 1, 0, 16),
        Piece(3, 1, 2, 16, 48),
    )


def test_a_partition_without_parameters_has_no_piece():
    assert of_partition(cut([32, 0, 32], 2, 100), 1) == ()
