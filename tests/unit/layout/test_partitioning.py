"""Ownership of units and parameters over P partitions, and the transfers between them."""

from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dbmpi.config.layers import Conv, Dense, Lcn, Local, Pool
from dbmpi.errors import UserError
from dbmpi.layout.boxes import Box, balanced, inside, volume
from dbmpi.layout.halo import border, interior
from dbmpi.layout.network import from_layers
from dbmpi.layout.partitioning import STATS_BYTES, STATS_ROWS, Partitioning, Traffic, Transfer, grid_of

plans = st.builds(
    lambda units, inputs, loss, partitions: Partitioning(
        from_layers([Dense(units=n) for n in units], inputs, loss), partitions
    ),
    st.lists(st.integers(1, 9), min_size=1, max_size=4),
    st.integers(1, 9),
    st.sampled_from(["softmax", "logistic", "squared"]),
    st.integers(1, 12),
)


@given(n=st.integers(0, 1000), parts=st.integers(1, 60))
def test_balanced_ranges_cover_in_order_and_differ_by_one(n, parts):
    ranges = balanced(n, parts)
    assert len(ranges) == parts and ranges[0][0] == 0 and ranges[-1][1] == n
    assert all(a[1] == b[0] for a, b in zip(ranges, ranges[1:], strict=False))
    lengths = [stop - start for start, stop in ranges]
    assert max(lengths) - min(lengths) <= 1 and lengths == sorted(lengths, reverse=True)


@given(plan=plans)
def test_every_row_of_every_tensor_has_one_owner(plan):
    rows = {tensor.name: [] for tensor in plan.network.tensors}
    for partition in range(plan.partitions):
        for part in plan.slices[partition]:
            rows[part.tensor.name] += range(*part.box[0])
    assert all(rows[tensor.name] == list(range(tensor.shape[0])) for tensor in plan.network.tensors)


@given(plan=plans)
def test_slices_fill_a_partition_s_vector_without_gaps(plan):
    for partition in range(plan.partitions):
        slices = plan.slices[partition]
        assert [s.offset for s in slices] == [sum(s.size for s in slices[:i]) for i in range(len(slices))]
        assert plan.sizes[partition] == sum(s.size for s in slices)
        assert all(np.prod(s.shape) == s.size for s in slices)
    assert sum(plan.sizes) == plan.network.parameters


@given(plan=plans)
def test_a_partition_owns_the_weights_and_biases_of_its_units(plan):
    for partition in range(plan.partitions):
        weights, biases = plan.slices[partition][0::2], plan.slices[partition][1::2]
        owned = [plan.own(space, partition) for space in range(1, len(plan.network.spaces))]
        assert [w.box[:1] for w in weights] == [b.box for b in biases] == owned


def ranges(plan: Partitioning, space: int) -> list[tuple[int, int]]:
    return [plan.own(space, partition)[0] for partition in range(plan.partitions)]


def needed_units(plan: Partitioning) -> set[tuple[int, int, int]]:
    """Find (space, unit, reader) edge by edge: reader owns a unit above, and not the one below."""
    needed = set()
    for space in range(1, len(plan.network.layers)):
        owner_of = {u: p for p, (a, b) in enumerate(ranges(plan, space)) for u in range(a, b)}
        for reader, (first, last) in enumerate(ranges(plan, space + 1)):
            for _ in range(first, last):
                needed |= {(space, unit, reader) for unit, owner in owner_of.items() if owner != reader}
    return needed


@given(plan=plans)
def test_each_needed_state_crosses_once_in_one_message_a_pair_and_layer(plan):
    crossing = [(t.space, unit, t.reader) for t in plan.transfers for unit in range(*t.box[0])]
    assert len(crossing) == len(set(crossing)) and set(crossing) == needed_units(plan)
    pairs = [(t.space, t.owner, t.reader) for t in plan.transfers]
    assert len(pairs) == len(set(pairs)) and all(t.units > 0 for t in plan.transfers)


@given(plan=plans)
def test_outputs_are_owned_and_read_by_those_who_have_some(plan):
    owners = [p for p, (start, stop) in enumerate(ranges(plan, len(plan.network.layers))) if stop > start]
    assert list(plan.output_owners) == owners and owners[0] == 0
    assert list(plan.output_readers) == (owners if plan.network.loss == "softmax" else [0])


@given(plan=plans, width=st.integers(1, 50), itemsize=st.sampled_from([4, 8]))
def test_traffic_of_all_partitions_is_the_sum_over_transfers_and_reduction(plan, width, itemsize):
    total = sum((plan.traffic(p, width, itemsize) for p in range(plan.partitions)), Traffic(0, 0))
    pairs = sum(o != r for o in plan.output_owners for r in plan.output_readers)
    states = sum(t.units for t in plan.transfers) * width * itemsize
    assert total.messages == 2 * len(plan.transfers) + pairs
    assert total.bytes == 2 * states + pairs * STATS_ROWS * STATS_BYTES * width
    silent = sum((plan.traffic(p, width, itemsize, False) for p in range(plan.partitions)), Traffic(0, 0))
    assert silent == Traffic(2 * len(plan.transfers), 2 * states)


def test_two_partitions_of_a_small_network():
    plan = Partitioning(from_layers([Dense(units=5), Dense(units=3)], 4, "softmax"), 2)
    assert [ranges(plan, space) for space in (1, 2)] == [[(0, 3), (3, 5)], [(0, 2), (2, 3)]]
    assert plan.sizes == (3 * 5 + 2 * 6, 2 * 5 + 1 * 6)
    assert plan.transfers == (Transfer(1, 0, 1, ((0, 3),)), Transfer(1, 1, 0, ((3, 5),)))
    # Of partition 0: 3 states out, 2 derivatives out, and its output statistics.
    assert plan.traffic(0, 10, 4) == Traffic(3, (3 + 2) * 10 * 4 + 4 * 8 * 10)


def test_one_partition_sends_nothing():
    plan = Partitioning(from_layers([Dense(units=5), Dense(units=3)], 4, "softmax"), 1)
    assert plan.traffic(0, 100, 4) == Traffic(0, 0) and plan.transfers == ()


# -- images

fields = st.tuples(st.integers(1, 4), st.integers(1, 4))
windowed = st.one_of(
    st.builds(
        Local, filters=st.integers(1, 3), size=fields, stride=st.integers(1, 2), padding=st.integers(0, 2)
    ),
    st.builds(Conv, filters=st.integers(1, 3), size=fields, padding=st.integers(0, 1)),
    st.builds(Pool, kind=st.just("max"), size=st.integers(1, 3), stride=st.integers(1, 2)),
    st.builds(Lcn, size=st.sampled_from([1, 3])),
)


@st.composite
def image_plans(draw: st.DrawFn) -> Partitioning:
    shape = draw(st.integers(4, 14)), draw(st.integers(4, 14)), draw(st.integers(1, 3))
    specs = draw(st.lists(windowed, min_size=1, max_size=3))
    try:
        net = from_layers([*specs, Dense(units=3)], shape, "softmax")
    except UserError:  # the image has vanished
        assume(False)
    grid = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    return Partitioning(net, grid[0] * grid[1], grid)


def mask(plan: Partitioning, space: int, box: Box) -> np.ndarray:
    """The units of a box, as a picture of the space."""
    seen = np.zeros(plan.network.spaces[space], bool)
    seen[tuple(slice(a, b) for a, b in box)] = True
    return seen


@settings(max_examples=60)
@given(plan=image_plans())
def test_every_unit_and_parameter_has_one_owner(plan):
    for space in range(1, len(plan.network.spaces)):
        owners = sum(mask(plan, space, plan.own(space, p)).astype(int) for p in range(plan.partitions))
        assert (owners == 1).all()
    counts = {t.name: np.zeros(t.shape, int) for t in plan.network.tensors}
    for partition in range(plan.partitions):
        for part in plan.slices[partition]:
            counts[part.tensor.name][tuple(slice(a, b) for a, b in part.box)] += 1
    assert all((count == 1).all() for count in counts.values())
    assert sum(plan.sizes) == plan.network.parameters


@settings(max_examples=60)
@given(plan=image_plans())
def test_a_tile_reads_exactly_what_its_windows_cover(plan):
    """Found output by output, tap by tap."""
    for layer in plan.network.layers[:-1]:
        window = layer.window
        for partition in range(plan.partitions):
            covered = np.zeros(layer.input, bool)
            (top, bottom), (left, right), _ = plan.own(layer.index + 1, partition)
            for i, j in product(range(top, bottom), range(left, right)):
                for k, n in product(range(window.size[0]), range(window.size[1])):
                    row = i * window.stride[0] - window.padding[0] + k
                    column = j * window.stride[1] - window.padding[1] + n
                    if 0 <= row < layer.input[0] and 0 <= column < layer.input[1]:
                        covered[row, column] = True
            need = mask(plan, layer.index, plan.need(layer.index, partition))
            assert (covered <= need).all()
            gaps = any(s > k for s, k in zip(window.stride, window.size, strict=True))
            if not gaps:  # then the box is exact
                assert (covered == need).all()


@settings(max_examples=60)
@given(plan=image_plans())
def test_transfers_bring_what_is_read_and_not_owned(plan):
    for space in range(1, len(plan.network.layers)):
        for reader in range(plan.partitions):
            own = mask(plan, space, plan.own(space, reader))
            arriving = np.zeros(own.shape, int)
            for t in plan.transfers:
                if (t.space, t.reader) == (space, reader):
                    arriving += mask(plan, space, t.box)
            need = mask(plan, space, plan.need(space, reader))
            assert (arriving == (need & ~own)).all()


@settings(max_examples=60)
@given(plan=image_plans())
def test_the_interior_needs_no_halo_and_the_border_is_the_rest(plan):
    for layer in plan.network.layers[:-1]:
        for partition in range(plan.partitions):
            own = plan.own(layer.index + 1, partition)
            have = plan.need(0, partition) if layer.index == 0 else plan.own(layer.index, partition)
            inner = interior(layer.window, layer.input, have, own)
            pieces = [inner, *border(own, inner)] if volume(inner) else border(own, inner)
            seen = sum((mask(plan, layer.index + 1, box).astype(int) for box in pieces), np.int64(0))
            assert (seen == mask(plan, layer.index + 1, own)).all()
            for i in range(*inner[0]) if volume(inner) else ():
                assert inside((layer.window.inputs(i, i + 1, 0, layer.input[0]),), (have[0],))


@pytest.mark.parametrize(
    ("partitions", "grid"), [(6, (2, 3)), (4, (2, 2)), (7, (1, 7)), (81, (9, 9)), (1, (1, 1))]
)
def test_the_grid_is_as_square_as_can_be(partitions, grid):
    assert grid_of(partitions) == grid


def test_a_grid_of_another_number_is_refused():
    with pytest.raises(UserError, match="6 tiles, but there are 4 partitions"):
        grid_of(4, (2, 3))
