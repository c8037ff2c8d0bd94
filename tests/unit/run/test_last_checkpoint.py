"""What is said at the end of a run that a death or a silence ends."""

from types import SimpleNamespace
from typing import Any

import pytest

from dbmpi.checkpoint import pruning
from dbmpi.errors import CoordinatorDied, PeerDied, PeerSilent
from dbmpi.run.roles.last_checkpoint import naming_the_last_checkpoint

SETUP: Any = SimpleNamespace(
    run_dir=None,
    go_on="the same command goes on",
    config=SimpleNamespace(cluster=SimpleNamespace(timeout_s=10.0)),
)
CHECKPOINT = SimpleNamespace(manifest=SimpleNamespace(number=3))


@pytest.mark.parametrize(
    ("error", "saved", "text"),
    [
        (
            PeerSilent.named("rank 1 (shard 0)", 15.0),
            CHECKPOINT,
            "no sign of life for 15 s from rank 1 (shard 0); the job ends with status 1: the same command "
            "goes on from checkpoint 3, the last; if it was only slow, raise cluster.timeout_s = 10",
        ),
        (
            PeerDied.named(["rank 1"]),
            None,
            "rank 1 has died, and the run cannot go on without it; the job ends with status 1: there is no "
            "checkpoint to go on from",
        ),
        (CoordinatorDied("died; checkpoint 1 has it all"), CHECKPOINT, "died; checkpoint 1 has it all"),
    ],
)
def test_one_line_says_who_what_is_left_and_what_to_do(monkeypatch, error, saved, text):
    monkeypatch.setattr(pruning, "newest", lambda run_dir: saved)
    with pytest.raises(type(error)) as raised, naming_the_last_checkpoint(SETUP):
        raise error
    assert str(raised.value) == text
