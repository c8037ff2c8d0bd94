"""Rows that are cut from the training set: classes keep their shares, groups stay whole, a seed repeats."""

import numpy as np
import pytest

from dbmpi.data import cutting

RNG = np.random.default_rng(5)


def cut(labels, shares, seed=1, groups=None):
    """Return for each row with these labels the number of its split; the last number is the rest."""
    units = np.arange(len(labels)) // cutting.block_rows(len(labels))
    if groups is not None:
        units = cutting.units_of_groups(groups, seed)
    counts = np.zeros((units.max() + 1, labels.max() + 1), np.int64)
    np.add.at(counts, (units, labels), 1)
    parts = cutting.stretches(units, cutting.choose(counts, shares, seed))
    split = np.full(len(labels), -1)
    for number, rows in enumerate(parts):
        for start, stop in zip(rows.starts, rows.stops, strict=True):
            assert (split[start:stop] == -1).all()
            split[start:stop] = number
    assert (split >= 0).all()
    return split


@pytest.mark.parametrize("rows", [150, 1797, 30_000])
@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("shares", [(0.1,), (0.2, 0.1), (0.05, 0.25)])
def test_classes_keep_their_shares(rows, ordered, shares):
    labels = np.minimum(RNG.geometric(0.4, rows) - 1, 4)
    labels = np.sort(labels) if ordered else labels
    split = cut(labels, shares)
    for number, share in enumerate(shares):
        inside = labels[split == number]
        off = np.abs(np.bincount(inside, minlength=5) - share * np.bincount(labels))
        assert (off <= max(1.01, 1.5 * cutting.block_rows(rows))).all(), off
        assert abs(len(inside) - share * rows) <= cutting.block_rows(rows)


def test_rows_are_cut_in_blocks_and_one_seed_cuts_the_same():
    labels = RNG.integers(0, 3, 100_000)
    split, again, other = cut(labels, (0.1,)), cut(labels, (0.1,)), cut(labels, (0.1,), seed=2)
    assert np.array_equal(split, again) and 0.05 < (split != other).mean() < 0.2
    assert (np.diff(split) != 0).sum() < 2 * 0.1 * cutting.MOST_UNITS + 2


@pytest.mark.parametrize("kind", ["texts", "many", "few"])
def test_groups_are_on_one_side(kind):
    rows = 6000
    groups = RNG.integers(0, {"texts": 60, "many": 5500, "few": 3}[kind], rows)
    if kind == "texts":
        groups = np.array([b"speaker%d" % one for one in groups])
    split = cut(groups_of_labels := RNG.integers(0, 4, rows), (0.2,), groups=groups)
    assert not set(groups[split == 0]) & set(groups[split == 1])
    assert 0 < (split == 0).sum() < rows
    if kind != "few":
        assert (split == 0).mean() == pytest.approx(0.2, abs=0.02)
        shares = np.bincount(groups_of_labels[split == 0], minlength=4) / (split == 0).sum()
        assert np.abs(shares - 0.25).max() < 0.05


def test_more_classes_than_rows_to_cut():
    labels = np.repeat(np.arange(100), 3)
    split = cut(labels, (0.1,))
    assert (split == 0).sum() == 30 and np.bincount(labels[split == 0]).max() == 1
