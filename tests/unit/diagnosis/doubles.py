"""Runs as their records tell of them, made for one question."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dbmpi.config.load import loads
from dbmpi.diagnosis.finding import Finding
from dbmpi.diagnosis.verdict import findings
from dbmpi.logs.records import parse
from dbmpi.logs.run import RunLog

MORE = "[train]\nminibatch = 10\nportion = 1\n"


def record(kind: str, time_s: float, step: int = 0, **values: object) -> dict[str, object]:
    return {"kind": kind, "time_s": time_s, "step": step, "examples": 10 * step, **values}


def train(losses: Sequence[float | None], **values: object) -> list[dict[str, object]]:
    """Return a train record of a second and of 100 minibatches for each loss, an epoch each."""
    common = {"interval_s": 1.0, "waits": {"fetch": 0.1}, **values}
    return [record("train", i, 100 * i, loss=loss, epoch=i, **common) for i, loss in enumerate(losses, 1)]


def run(
    records: Sequence[dict[str, object]],
    text: str = "",
    replicas: int = 2,
    summary: dict[str, object] | None = None,
    ended: bool = True,
    **described: object,
) -> RunLog:
    """Return a run with a shard, and partitions on a node of two cores."""
    begin = record("job", 0.0, began=True, schema=2, partitions=replicas, wall_s=1.0)
    end = [record("job", 1e4, began=False)] if ended else []
    lines = [json.dumps(one) for one in [begin, *records, *end]]
    roles = ["coordinator", "shard 0", *(f"replica {i} partition 0" for i in range(replicas))]
    ranks = [{"role": role, "host": "a", "node": 0, "cores": "0-1", "threads": 1} for role in roles]
    told: dict[str, Any] = {"ranks": ranks, "nodes": [{"host": "a", "cores": 2, "ranks": len(ranks)}]}
    config = loads((text + MORE if "[train]" not in text else text).encode(), name="test")
    return RunLog(Path("run"), config, told | described, summary or {}, parse(lines), False, [])


def about(name: str, *arguments: Any, **more: Any) -> list[Finding]:
    """Return the findings about one thing, of a run as `run` makes it."""
    return [one for one in findings(run(*arguments, **more)) if one.about == name]
