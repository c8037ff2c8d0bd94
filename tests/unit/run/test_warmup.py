"""What the garbage collector does while kernels are loaded."""

import gc

import pytest

from dbmpi.errors import UserError
from dbmpi.run.roles.warmup import _set_threads, _without_full_collections
from kernels import jit


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


def test_threads_that_the_system_does_not_give_are_an_error_of_the_user(monkeypatch) -> None:
    def refuse(n: int) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(jit, "set_threads", refuse)
    with pytest.raises(UserError, match="set cluster.threads to less"):
        _set_threads(3)
