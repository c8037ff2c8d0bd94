"""What partitions send one another and have on shards, as matrices."""

from hypothesis import given

from dbmpi.config.layers import Conv, Dense
from dbmpi.layout.network import from_layers
from dbmpi.layout.partitioning import Partitioning
from dbmpi.layout.sharding import cut
from dbmpi.layout.traffic import boundary_bytes_per_example, shard_bytes, shared_bytes_per_minibatch
from tests.unit.layout.test_partitioning import plans


@given(plan=plans)
def test_rows_are_what_each_partition_sends(plan):
    for labels in (True, False):
        sent = boundary_bytes_per_example(plan, 4, labels)
        assert [sum(row) for row in sent] == [
            plan.traffic(p, 1, 4, labels).bytes for p in range(plan.partitions)
        ]
        assert all(sent[p][p] == 0 for p in range(plan.partitions))


def test_shared_tensors_travel_with_every_minibatch():
    net = from_layers([Conv(filters=2, size=3), Dense(units=3)], (6, 6), "softmax")
    plan = Partitioning(net, 4)
    each, whole = boundary_bytes_per_example(plan, 4, True), shared_bytes_per_minibatch(plan, 4)
    assert whole[0] == [0, 80, 80, 80] and [row[0] for row in whole] == [0, 80, 80, 80]
    sent = [5 * sum(a) + sum(b) for a, b in zip(each, whole, strict=True)]
    assert sent == [plan.traffic(p, 5, 4).bytes for p in range(4)]
    assert shared_bytes_per_minibatch(Partitioning(net, 1), 4) == [[0]]


@given(plan=plans)
def test_what_is_on_shards_adds_up_to_each_partition_s_parameters(plan):
    held = shard_bytes(cut(plan.sizes, 3, 7), plan.partitions, 3, 4)
    assert [sum(row) for row in held] == [4 * size for size in plan.sizes]
