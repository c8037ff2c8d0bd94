"""Roles from the world size: every rank has one, replicas stay on their nodes, shards are spread."""

import re
from collections import Counter

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dbmpi.errors import UserError
from dbmpi.layout.topology import Role, Topology, assign_roles


@st.composite
def worlds(draw: st.DrawFn) -> tuple[int, int, int, int, list[int]]:
    """Draw S, R, P, and the node of each rank of a world that holds them with some ranks left over."""
    shards, replicas, partitions = (draw(st.integers(1, 6)) for _ in range(3))
    size = 1 + shards + replicas * partitions + draw(st.integers(0, 5))
    if draw(st.booleans()):
        per_node = draw(st.integers(1, size))
        nodes = [rank // per_node for rank in range(size)]
    else:
        nodes = draw(st.lists(st.integers(0, 4), min_size=size, max_size=size))
    return size, shards, replicas, partitions, nodes


def numbers(topology: Topology) -> tuple[int, int, int]:
    return len(topology.shards), len(topology.replicas), topology.partitions


def free_after_shards(topology: Topology, nodes: list[int]) -> Counter[int]:
    """Count the ranks of each node that are neither coordinator nor shard."""
    taken = {topology.coordinator, *topology.shards}
    return Counter(node for rank, node in enumerate(nodes) if rank not in taken)


@given(world=worlds())
def test_every_rank_has_exactly_one_role(world):
    size, shards, replicas, partitions, nodes = world
    topology = assign_roles(size, shards, replicas, partitions, nodes)
    assert numbers(topology) == (shards, replicas, partitions)
    ranks = [topology.coordinator, *topology.shards, *topology.spares]
    ranks += [rank for replica in topology.replicas for rank in replica]
    assert sorted(ranks) == list(range(size))
    assert list(topology.shards) == sorted(topology.shards)
    assert len(topology.roles) == size


@given(world=worlds())
def test_roles_agree_with_the_ranks_of_each_role(world):
    topology = assign_roles(*world)
    roles = topology.roles
    assert roles[0] == Role("coordinator")
    assert [roles[rank] for rank in topology.shards] == [
        Role("shard", shard_index=i) for i in range(len(topology.shards))
    ]
    for r, replica in enumerate(topology.replicas):
        expected = [Role("replica", replica_index=r, partition_index=p) for p in range(len(replica))]
        assert [roles[rank] for rank in replica] == expected
    assert all(roles[rank].kind == "spare" for rank in topology.spares)


@given(world=worlds())
def test_partitions_of_a_replica_share_a_node_where_they_fit(world):
    size, shards, replicas, partitions, nodes = world
    topology = assign_roles(size, shards, replicas, partitions, nodes)
    together = sum(len({nodes[rank] for rank in replica}) == 1 for replica in topology.replicas)
    room = sum(free // partitions for free in free_after_shards(topology, nodes).values())
    assert together >= min(replicas, room)


@given(world=worlds())
def test_shards_are_spread_over_the_nodes(world):
    size, shards, replicas, partitions, nodes = world
    topology = assign_roles(size, shards, replicas, partitions, nodes)
    held = Counter(nodes[rank] for rank in topology.shards)
    capacity = Counter(nodes[1:])
    for node in capacity:
        # No node has two shards more than another, unless that one is full.
        assert max(held.values()) <= held[node] + 1 or held[node] == capacity[node]


@given(size=st.integers(3, 2000))
def test_auto_uses_every_rank_of_any_world(size):
    topology = assign_roles(size)
    shards, replicas, partitions = numbers(topology)
    assert 1 + shards + replicas * partitions == size
    assert not topology.spares
    assert shards <= max(2, size // 5)


@given(
    size=st.integers(3, 300),
    shards=st.just("auto") | st.integers(1, 5),
    replicas=st.just("auto") | st.integers(1, 5),
    partitions=st.just("auto") | st.integers(1, 5),
)
def test_auto_fits_around_what_is_given(size, shards, replicas, partitions):
    given_or_one = [1 if count == "auto" else count for count in (shards, replicas, partitions)]
    assume(1 + given_or_one[0] + given_or_one[1] * given_or_one[2] <= size)
    topology = assign_roles(size, shards, replicas, partitions)
    for got, wanted in zip(numbers(topology), (shards, replicas, partitions), strict=True):
        assert wanted in ("auto", got)
    if replicas == "auto":
        assert len(topology.spares) < topology.partitions


def test_eight_ranks_are_the_quickstart():
    assert numbers(assign_roles(8)) == (1, 6, 1)
    assert numbers(assign_roles(8, partitions=2)) == (1, 3, 2)


def test_two_nodes_of_four():
    topology = assign_roles(8, 1, 3, 2, [0, 0, 0, 0, 1, 1, 1, 1])
    assert topology.shards == (1,)  # beside the coordinator: no replica straddles the nodes
    assert topology.replicas == ((2, 3), (4, 5), (6, 7))


@given(world=worlds())
def test_equation_sums_to_the_world(world):
    topology = assign_roles(*world)
    numbers_in = [int(n) for n in re.findall(r"\d+", topology.equation())]
    size, coordinator, shards, replicas, partitions, *left = numbers_in
    assert size == coordinator + shards + replicas * partitions + sum(left) == world[0]
    assert bool(left) == bool(topology.spares)


def test_equation_reads_well():
    assert (
        assign_roles(8, 1, 3, 2).equation() == "8 ranks = 1 coordinator + 1 shard + 3 replicas x 2 partitions"
    )
    assert assign_roles(6, 2, 1, 2).equation() == (
        "6 ranks = 1 coordinator + 2 shards + 1 replica x 2 partitions + 1 left over"
    )


def test_one_process_has_every_role():
    topology = assign_roles(1, 1, "auto", 1)
    assert topology.serial and numbers(topology) == (1, 1, 1)
    assert topology.roles == (Role("serial", 0, 0, 0),)
    assert "serial" in topology.equation()


@pytest.mark.parametrize("size", [2, 5, 47])
def test_a_world_too_small_is_told_the_equation(size):
    with pytest.raises(UserError) as raised:
        assign_roles(size, 15, 8, 4)
    text = str(raised.value)
    assert "48 ranks = 1 coordinator + 15 shards + 8 replicas x 4 partitions" in text
    assert f"mpirun started {size}" in text


def test_two_ranks_are_too_few_for_any_configuration():
    with pytest.raises(UserError, match=r"start at least 3 ranks \(mpirun -n 3\), or 1 to train serially"):
        assign_roles(2)


def test_one_process_refuses_several_of_a_role_and_says_how_many_ranks_it_takes():
    with pytest.raises(UserError, match=r"cluster\.replicas = 4.*mpirun -n 14"):
        assign_roles(1, "auto", 4, 3)


def test_roles_are_named():
    names = [str(role) for role in assign_roles(6, 1, 1, 3).roles]
    assert names == ["coordinator", "shard 0", *(f"replica 0 partition {p}" for p in range(3)), "spare"]
