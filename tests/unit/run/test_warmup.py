"""What the garbage collector does while kernels are loaded."""

import gc

import pytest

from dbmpi.run.warmup import _without_full_collections


def test_no_full_collection_runs_meanwhile_and_the_thresholds_come_back() -> None:
    before, full = gc.get_threshold(), gc.get_stats()[2]["collections"]
    try:
        with pytest.raises(ZeroDivisionError), _without_full_collections():
            kept = [[] for _ in range(1_000_000)]  # without it: four full collections and more
            assert gc.get_stats()[2]["collections"] == full
            raise ZeroDivisionError
        assert gc.get_threshold() == before
        assert gc.get_freeze_count() >= len(kept)
    finally:
        gc.unfreeze()
