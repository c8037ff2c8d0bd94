"""Shuffled rows are the same rows, in an order that the seed draws, whatever they take."""

import numpy as np
import pytest

from dbmpi.prepare import spool
from dbmpi.prepare.cuts import GroupCuts, RowCuts
from dbmpi.prepare.spool import Spool

RECORD = np.dtype([("x", np.float32, (3,)), ("y", np.int32)])


def rows(start, count):
    made = np.zeros(count, RECORD)
    made["y"] = np.arange(start, start + count)
    made["x"] = made["y"][:, None]
    return made


@pytest.fixture(params=["in memory", "in buckets"])
def small_buckets(request, monkeypatch):
    if request.param == "in buckets":
        monkeypatch.setattr(spool, "BUCKET_BYTES", 50 * RECORD.itemsize)


def spooled(tmp_path, rng, count=1000):
    made = Spool(RECORD, 900, rng, tmp_path)
    for start in range(0, count, 70):
        made.add(rows(start, min(70, count - start)))
    return np.concatenate([*made.batches()])


@pytest.mark.usefixtures("small_buckets")
def test_rows_are_shuffled_and_whole(tmp_path):
    found = spooled(tmp_path, np.random.default_rng(1))
    assert np.array_equal(np.sort(found["y"]), np.arange(1000)) and (found["x"] == found["y"][:, None]).all()
    assert abs(np.corrcoef(found["y"], np.arange(1000))[0, 1]) < 0.15
    assert np.array_equal(found, spooled(tmp_path, np.random.default_rng(1)))
    assert not [*tmp_path.iterdir()]


@pytest.mark.usefixtures("small_buckets")
def test_the_order_can_be_kept(tmp_path):
    assert np.array_equal(spooled(tmp_path, None)["y"], np.arange(1000))


def test_every_place_is_equally_likely(tmp_path, monkeypatch):
    monkeypatch.setattr(spool, "BUCKET_BYTES", 4 * RECORD.itemsize)
    rng, counts = np.random.default_rng(2), np.zeros((12, 12))
    for _ in range(2000):
        made = Spool(RECORD, 12, rng, tmp_path)
        made.add(rows(0, 12))
        counts[np.concatenate([*made.batches()])["y"], np.arange(12)] += 1
    expected = 2000 / 12
    assert ((counts - expected) ** 2 / expected).sum() < 180  # chi square of 121 degrees: 0.1 % at 174


def test_cuts_take_their_share_of_each_class():
    records = np.zeros(1000, RECORD)
    records["y"] = np.random.default_rng(1).choice(3, 1000, p=[0.7, 0.2, 0.1])
    counts = np.bincount(records["y"])
    cuts = RowCuts(counts, "train", {"test": 0.2, "validation": 0.1})
    position = np.concatenate([cuts.positions(some) for some in np.array_split(records, 7)])
    for number, fraction in enumerate((0.7, 0.2, 0.1)):
        share = np.bincount(records["y"][position == number], minlength=3) / counts
        assert np.abs(share - fraction).max() < 0.01
    assert [*cuts.rows.values()] == np.bincount(position).tolist() and [*cuts.rows] == [
        "train",
        "test",
        "validation",
    ]


def test_cuts_keep_groups_together():
    record = np.dtype([*RECORD.descr, ("group", np.int32)])
    records = np.zeros(1000, record)
    records["group"] = np.random.default_rng(1).integers(0, 40, 1000)
    cuts = GroupCuts(np.bincount(records["group"]), "train", {"test": 0.2}, np.random.default_rng(1))
    position = cuts.positions(records)
    groups = [set(records["group"][position == number]) for number in (0, 1)]
    assert not groups[0] & groups[1] and 0.2 <= (position == 1).mean() < 0.25
