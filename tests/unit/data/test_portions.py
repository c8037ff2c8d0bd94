"""The order of the examples: each once per epoch, contiguous reads, the same wherever it is derived."""

import subprocess
import sys
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dbmpi.data.portions import PortionPlan

plans = st.builds(
    PortionPlan,
    rows=st.integers(1, 700),
    minibatch=st.integers(1, 40),
    replicas=st.integers(1, 9) | st.just(800),
    seed=st.integers(0, 2**63),
    portion_minibatches=st.just("auto") | st.integers(1, 20),
    chunk_rows=st.none() | st.integers(1, 50) | st.just(10_000),
)


def portions_of(plan: PortionPlan, epoch: int, part: int) -> list[np.ndarray]:
    """Return the rows of each portion, in the order in which they are read."""
    portions = range(plan.portions(epoch, part))
    return [np.concatenate([np.arange(*r) for r in plan.blocks(epoch, part, i)]) for i in portions]


def sequence(plan: PortionPlan, epoch: int, part: int = 0) -> list[int]:
    """Return the rows of a part in the order in which they are learned from."""
    read = portions_of(plan, epoch, part)
    return np.concatenate([rows[plan.order(epoch, part, i)] for i, rows in enumerate(read)]).tolist()


@settings(max_examples=60)
@given(plan=plans, epoch=st.integers(0, 1000))
def test_every_row_exactly_once_per_epoch_over_all_parts(plan, epoch):
    seen = [rows for part in range(plan.replicas) for rows in portions_of(plan, epoch, part)]
    assert sorted(np.concatenate(seen).tolist()) == list(range(plan.all_rows))


@settings(max_examples=60)
@given(plan=plans, epoch=st.integers(0, 1000))
def test_portions_are_whole_minibatches_but_the_last_of_a_part(plan, epoch):
    for part in range(plan.replicas):
        count = plan.portions(epoch, part)
        for index in range(count):
            rows = plan.rows(epoch, part, index)
            blocks = plan.blocks(epoch, part, index)
            assert rows == sum(stop - start for start, stop in blocks) > 0
            assert sorted(plan.order(epoch, part, index).tolist()) == list(range(rows))
            assert plan.minibatches(epoch, part, index) == -(-rows // plan.minibatch)
            assert index == count - 1 or rows == plan.portion_rows
            assert all(a[1] < b[0] for a, b in zip(blocks, blocks[1:], strict=False))
    assert plan.portion_rows % plan.minibatch == 0


def test_rows_stay_in_their_part_and_parts_are_balanced():
    plan = PortionPlan(rows=1003, minibatch=8, replicas=7, seed=3)
    sizes = [stop - start for start, stop in map(plan.part, range(7))]
    assert max(sizes) - min(sizes) == 1
    for part in range(7):
        rows = np.concatenate(portions_of(plan, 2, part))
        assert rows.min() == plan.part(part)[0] and rows.max() == plan.part(part)[1] - 1


def test_more_parts_than_rows_leaves_some_empty():
    plan = PortionPlan(rows=3, minibatch=8, replicas=5, seed=1)
    assert sorted(plan.portions(0, part) for part in range(5)) == [0, 0, 1, 1, 1]


def test_auto_portion_is_sixteen_minibatches_but_at_most_a_quarter_of_a_part():
    assert PortionPlan(60000, 100, 2, 1).portion_rows == 1600
    assert PortionPlan(1437, 16, 4, 1).portion_rows == 5 * 16  # 22 minibatches in a part
    assert PortionPlan(1437, 16, 31, 1).portion_rows == 16
    assert PortionPlan(60000, 100, 2, 1, 3).portion_rows == 300


def test_blocks_are_whole_chunks():
    plan = PortionPlan(60000, 100, 1, 5, "auto", chunk_rows=128)
    assert plan.block_rows == 256
    edges = np.array([edge for i in range(plan.portions(0, 0)) for edge in plan.blocks(0, 0, i)]).ravel()
    # Off the chunk grid are only the two cuts between neighbouring portions, and the end of the file.
    assert np.count_nonzero(edges % 128) <= 2 * plan.portions(0, 0) + 1


def test_a_portion_reads_few_ranges_and_from_all_over_its_part():
    plan = PortionPlan(1_000_000, 100, 1, 5)
    blocks = plan.blocks(0, 0, 3)
    assert len(blocks) <= 10
    assert blocks[-1][0] - blocks[0][0] > 300_000


def test_chunks_too_coarse_for_the_parts_are_cut():
    assert PortionPlan(1437, 16, 2, 1, "auto", chunk_rows=1437).block_rows == 16 * 11 // 8
    assert PortionPlan(1_000_000, 16, 2, 1, "auto", chunk_rows=5000).block_rows == 5000


def test_order_changes_with_epoch_seed_and_part_but_not_otherwise():
    plan = PortionPlan(500, 10, 2, seed=1)
    assert sequence(plan, 0) == sequence(PortionPlan(500, 10, 2, seed=1), 0)
    assert sequence(plan, 0) != sequence(plan, 1)
    assert sequence(plan, 0) != sequence(PortionPlan(500, 10, 2, seed=2), 0)
    assert portions_of(plan, 0, 0)[0].tolist() != portions_of(plan, 1, 0)[0].tolist()
    orders = [plan.order(*key).tolist() for key in ((0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0))]
    assert len({tuple(order) for order in orders}) == 4


def test_order_is_the_same_in_another_process_and_whatever_was_asked_before():
    plan = PortionPlan(500, 10, 2, seed=1)
    for epoch in range(9):
        plan.blocks(epoch, 1, 0)
    code = "from dbmpi.data.portions import PortionPlan; p = PortionPlan(500, 10, 2, seed=1); "
    code += "print(p.blocks(4, 1, 2), p.order(4, 1, 2).tolist())"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == f"{plan.blocks(4, 1, 2)} {plan.order(4, 1, 2).tolist()}"


def test_shuffle_is_thorough():
    """The place of a row in one epoch tells next to nothing of its place in the next."""
    plan = PortionPlan(4000, 10, 1, seed=9)
    places = [np.argsort(sequence(plan, epoch)) for epoch in range(2)]
    assert abs(np.corrcoef(*places)[0, 1]) < 0.2
    assert abs(np.corrcoef(places[0], np.arange(4000))[0, 1]) < 0.2


def test_huge_set_is_planned_in_little_time():
    plan = PortionPlan(10**9, 100, 100, seed=1)
    began = time.perf_counter()
    assert sum(stop - start for start, stop in plan.blocks(0, 7, 5)) == 1600
    for index in range(100):
        plan.blocks(0, 7, index)
    assert time.perf_counter() - began < 5.0  # a billion examples would take minutes


def test_huge_set_of_tiny_minibatches_is_planned_in_little_memory():
    plan = PortionPlan(10**9, 1, 1, seed=1)
    tracemalloc.start()
    assert sum(stop - start for start, stop in plan.blocks(0, 0, 12345)) == 16
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 100e6


@pytest.mark.parametrize("wrong", [{"rows": 0}, {"minibatch": 0}, {"replicas": 0}, {"seed": -1}])
def test_impossible_plans_are_refused(wrong):
    with pytest.raises(ValueError):
        PortionPlan(**({"rows": 10, "minibatch": 2, "replicas": 1, "seed": 1} | wrong))


def test_portions_that_do_not_exist_are_refused():
    plan = PortionPlan(10, 2, 2, 1)
    for part, index in ((0, plan.portions(0, 0)), (0, -1), (2, 0), (-1, 0)):
        with pytest.raises(ValueError):
            plan.blocks(0, part, index)
