"""Rates of more than a moment, and histograms whose tail is one bar."""

from pathlib import Path

import numpy as np
import pytest

from dbmpi.logs.run import open_run
from dbmpi.report.sections import staleness
from dbmpi.report.windows import Windows
from tests.doubles.recorded import Recorded


def test_records_that_follow_closely_are_taken_together(tmp_path: Path) -> None:
    run = Recorded(tmp_path / "run")
    run.begin()
    for i in range(1, 1001):
        run.record("train", i / 100, examples_per_s=100.0 if i % 2 else 300.0, interval_s=0.01)
    records = open_run(run.write()).records("train")
    windows = Windows(records)
    rate = windows.mean(records.column("examples_per_s"))
    assert 35 <= len(windows.last) <= 41 and np.allclose(rate, 200, atol=5)
    assert windows.sum(np.ones(1000)).sum() == 1000


def test_windows_end_with_their_job(tmp_path: Path) -> None:
    run = Recorded(tmp_path / "run")
    for first in (0.0, 1.0):
        run.begin(first)
        for i in range(1, 11):
            run.record("train", first + i / 10, examples_per_s=first)
    records = open_run(run.write()).records("train")
    windows = Windows(records)
    assert windows.last.jobs.tolist() == sorted(windows.last.jobs.tolist())
    assert set(windows.mean(records.column("examples_per_s")).tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("length", [3, 30, 255])
def test_what_is_far_above_the_others_shares_the_last_bar(tmp_path: Path, length: int) -> None:
    run = Recorded(tmp_path / "run")
    run.begin()
    counts = [10, 500, 400, *[0] * (length - 1), 1]
    run.record("shard", 1.0, shard=0, updates=sum(counts), staleness_histogram=counts)
    blocks = staleness.of_shards(staleness.histograms(open_run(run.write()).records("shard")))
    histogram = blocks[0]
    assert isinstance(histogram, staleness.Histogram) and histogram.counts.sum() == sum(counts)
    assert histogram.more == (length > 3) and histogram.counts.tolist()[:3] == [10, 500, 400]
