"""What the loader does with portions; the minibatches themselves are tested with the model."""

from collections import deque
from typing import Any

from dbmpi.comm.assignments import PlanNumbers, Portion
from dbmpi.replica.loader import Loader


def test_a_portion_that_nobody_reads_is_not_the_next_one(monkeypatch: Any) -> None:
    """With backup workers, a replica may come too late for all rounds of a portion."""
    plan = PlanNumbers(40, 10, 1, 1, 2, None)
    loader = Loader.__new__(Loader)
    loader._expected = deque([Portion(0, 0, index, 2, 20, 0, plan) for index in (0, 1)])
    monkeypatch.setattr(Loader, "take", lambda self: "rows")
    monkeypatch.setattr(Loader, "minibatches", lambda self, rows, order, width: iter(order))
    unread = loader.train()
    assert [portion.index for portion in loader._expected] == [1]
    loader.train()
    assert not loader._expected and len(list(unread)) == 20
