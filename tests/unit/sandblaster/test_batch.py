"""Batches: whole minibatches, the wanted number of portions, and samples of one size."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbmpi.config.algorithms import Sandblaster
from dbmpi.config.sections import Config, Train
from dbmpi.sandblaster.batch import cut_batch, vectors_of


def test_the_whole_set_is_one_batch_of_sixteen_portions_a_replica():
    made = cut_batch(Sandblaster(), Train(minibatch=100), 60_000, 4, None)
    assert 48 <= made.portions <= 64 and made.examples == 60_000
    assert made.plan.portion_rows % 100 == 0


@given(
    rows=st.integers(1, 5000),
    minibatch=st.integers(1, 300),
    replicas=st.integers(1, 30),
    portions=st.one_of(st.just("auto"), st.integers(1, 500)),
    sample=st.floats(0.01, 1),
)
def test_portions_are_as_many_as_wanted_and_hold_each_row_once(rows, minibatch, replicas, portions, sample):
    settings = Sandblaster(portions=portions, sample=sample)
    made = cut_batch(settings, Train(minibatch=minibatch), rows, replicas, None)
    wanted = 16 * replicas if portions == "auto" else portions
    assert 1 <= made.portions <= wanted + 1
    for number in (0, 3):
        ranges = [r for i in range(made.portions) for r in made.plan.blocks(number, 0, i)]
        seen = [row for start, stop in ranges for row in range(start, stop)]
        assert len(seen) == len(set(seen)) == made.examples
    if sample == 1:
        assert made.examples == rows


@pytest.mark.parametrize(("sample", "share"), [(0.25, 0.25), (0.5, 0.5)])
def test_a_sample_has_its_share_of_the_examples(sample, share):
    made = cut_batch(Sandblaster(sample=sample), Train(minibatch=10), 10_000, 2, None)
    assert made.examples == pytest.approx(share * 10_000, rel=0.05)


def test_samples_differ():
    made = cut_batch(Sandblaster(sample=0.2), Train(minibatch=10), 10_000, 2, None)
    first, second = ([made.plan.blocks(n, 0, i) for i in range(made.portions)] for n in (0, 1))
    assert first != second


def test_vectors():
    sandblaster = Train(algorithm="sandblaster")
    assert vectors_of(Config()) == 1
    assert vectors_of(Config(train=sandblaster)) == 5 + 2 * 11
    cg = Sandblaster(method="conjugate_gradient")
    assert vectors_of(Config(train=sandblaster, sandblaster=cg)) == 5
