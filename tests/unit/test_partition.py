"""Ownership of units and parameters over P partitions, and the plan of what crosses."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dbmpi.config import Dense
from dbmpi.network import from_layers
from dbmpi.partition import STATS_BYTES, STATS_ROWS, Partitioning, Traffic, Transfer, balanced

plans = st.builds(
    lambda units, inputs, loss, partitions: Partitioning(
        from_layers([Dense(units=n) for n in units], inputs, loss), partitions
    ),
    st.lists(st.integers(1, 9), min_size=1, max_size=4),
    st.integers(1, 9),
    st.sampled_from(["softmax", "logistic", "squared"]),
    st.integers(1, 12),
)


@settings(deadline=None)
@given(n=st.integers(0, 1000), parts=st.integers(1, 60))
def test_balanced_ranges_cover_in_order_and_differ_by_one(n, parts):
    ranges = balanced(n, parts)
    assert len(ranges) == parts and ranges[0][0] == 0 and ranges[-1][1] == n
    assert all(a[1] == b[0] for a, b in zip(ranges, ranges[1:], strict=False))
    lengths = [stop - start for start, stop in ranges]
    assert max(lengths) - min(lengths) <= 1 and lengths == sorted(lengths, reverse=True)


@settings(deadline=None)
@given(plan=plans)
def test_every_row_of_every_tensor_has_one_owner(plan):
    rows = {tensor.name: [] for tensor in plan.network.tensors}
    for partition in range(plan.partitions):
        for part in plan.slices(partition):
            rows[part.tensor.name] += range(part.start, part.stop)
    assert all(rows[tensor.name] == list(range(tensor.shape[0])) for tensor in plan.network.tensors)


@settings(deadline=None)
@given(plan=plans)
def test_slices_fill_a_partition_s_vector_without_gaps(plan):
    for partition in range(plan.partitions):
        slices = plan.slices(partition)
        assert [s.offset for s in slices] == [sum(s.size for s in slices[:i]) for i in range(len(slices))]
        assert plan.sizes[partition] == sum(s.size for s in slices)
        assert all(np.prod(s.shape) == s.size for s in slices)
    assert sum(plan.sizes) == plan.network.parameters


@settings(deadline=None)
@given(plan=plans)
def test_a_partition_owns_the_weights_and_biases_of_its_units(plan):
    for partition in range(plan.partitions):
        weights, biases = plan.slices(partition)[0::2], plan.slices(partition)[1::2]
        owned = [units[partition] for units in plan.units]
        assert [(w.start, w.stop) for w in weights] == [(b.start, b.stop) for b in biases] == owned


def needed_units(plan: Partitioning) -> set[tuple[int, int, int]]:
    """Find (layer, unit, reader) edge by edge: reader owns a unit above, and not the one below."""
    needed = set()
    for layer in range(len(plan.units) - 1):
        owner_of = {u: p for p, (a, b) in enumerate(plan.units[layer]) for u in range(a, b)}
        for reader, (first, last) in enumerate(plan.units[layer + 1]):
            for _ in range(first, last):
                needed |= {(layer, unit, reader) for unit, owner in owner_of.items() if owner != reader}
    return needed


@settings(deadline=None)
@given(plan=plans)
def test_each_needed_state_crosses_once_in_one_message_a_pair_and_layer(plan):
    crossing = [(t.layer, unit, t.reader) for t in plan.transfers for unit in range(t.start, t.stop)]
    assert len(crossing) == len(set(crossing)) and set(crossing) == needed_units(plan)
    pairs = [(t.layer, t.owner, t.reader) for t in plan.transfers]
    assert len(pairs) == len(set(pairs)) and all(t.units > 0 for t in plan.transfers)


@settings(deadline=None)
@given(plan=plans)
def test_outputs_are_owned_and_read_by_those_who_have_some(plan):
    owners = [p for p, (start, stop) in enumerate(plan.units[-1]) if stop > start]
    assert list(plan.output_owners) == owners and owners[0] == 0
    assert list(plan.output_readers) == (owners if plan.network.loss == "softmax" else [0])


@settings(deadline=None)
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
    assert plan.units == (((0, 3), (3, 5)), ((0, 2), (2, 3)))
    assert plan.sizes == (3 * 5 + 2 * 6, 2 * 5 + 1 * 6)
    assert plan.transfers == (Transfer(0, 0, 1, 0, 3), Transfer(0, 1, 0, 3, 5))
    # Of partition 0: 3 states out, 2 derivatives out, and its output statistics.
    assert plan.traffic(0, 10, 4) == Traffic(3, (3 + 2) * 10 * 4 + 4 * 8 * 10)


def test_one_partition_sends_nothing():
    plan = Partitioning(from_layers([Dense(units=5), Dense(units=3)], 4, "softmax"), 1)
    assert plan.traffic(0, 100, 4) == Traffic(0, 0) and plan.transfers == ()
