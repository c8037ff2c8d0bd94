"""The shards as the coordinator knows them: who is silent, and how long that matters."""

from types import SimpleNamespace
from typing import Any

import pytest

from dbmpi.coordinator import shards
from dbmpi.coordinator.shards import ShardGroup
from dbmpi.errors import PeerSilent


def test_shards_that_were_told_to_leave_are_not_judged(monkeypatch: Any) -> None:
    now = 0.0
    monkeypatch.setattr(shards, "awake", lambda: now)
    nothing = lambda *_, **__: None  # noqa: E731
    channel: Any = SimpleNamespace(
        waiter=SimpleNamespace(timeout_s=1.0), order=nothing, take=nothing, detector=SimpleNamespace(dead=[])
    )
    fencing: Any = SimpleNamespace(fence=lambda rank: False)
    topology: Any = SimpleNamespace(shards=(1,))
    group = ShardGroup(channel, topology, channel, channel, 1.0, fencing)
    now = 10.0
    with pytest.raises(PeerSilent, match=r"rank 1 \(shard 0\)"):
        group.attend()
    group.stop(0)
    group.attend()
