"""Run directories as runs leave them, made without any run: records of version 2 with all they can hold."""

import json
import math
import random
from pathlib import Path
from typing import Any

HOSTILE = "</script><img src=x onerror=alert(1)><!--\"'&\x00\x1b[31m\u2028\u202e\ud800"
ITERATION = {
    "step": 700, "examples": 45000, "loss": 0.5, "gradient_norm": 1.0, "step_length": 1.0, "evaluations": 2,
    "line_search": [[1.0, 2.0], [0.5, 1.0]], "passes_s": 1.0, "commands_s": 0.1, "bookkeeping_s": 0.01,
    "waited_s": 0.1, "examples_per_s": 5.0,
}  # fmt: skip
CAUSES = {"fetch": 0.1, "push": 0.02, "states": 0.05, "derivatives": 0.04, "data": 0.01, "coordinator": 0.02}


class Recorded:
    """A run directory that records are added to.

    Parameters
    ----------
    path
        The directory, made here.
    replicas, partitions, shards
        How many there are.
    """

    def __init__(self, path: Path, replicas: int = 3, partitions: int = 2, shards: int = 2) -> None:
        self.path, self.replicas, self.partitions, self.shards = path, replicas, partitions, shards
        self.lines: list[str] = []
        path.mkdir(parents=True)

    def record(self, kind: str, time_s: float, **values: Any) -> None:
        """Add a record; a second has ten minibatches of 64 examples."""
        step = int(10 * time_s)
        base = {"kind": kind, "time_s": time_s, "step": step, "examples": 64 * step}
        self.lines.append(json.dumps(base | values))

    def begin(self, time_s: float = 0.0, wall_s: float = 2.0) -> None:
        """Begin a job."""
        counts = {"partitions": self.replicas * self.partitions, "replicas": self.replicas, "schema": 2}
        self.record("job", time_s, began=True, wall_s=wall_s, at="2026-11-30T03:00:00+00:00", **counts)

    def second(self, time_s: float, whole_s: float = 60.0) -> None:
        """Add what a second of training leaves."""
        loss, each = 2.3 * math.exp(-4 * time_s / whole_s), self.replicas
        self.record(
            "train",
            time_s,
            loss=loss,
            accuracy=1 - loss / 3,
            examples_per_s=640 + time_s % 7,
            epoch=time_s / 20,
            wait_share=0.24,
            waits=CAUSES,
            learning_rate=0.05,
            gradient_norm=1 + time_s % 3,
            interval_s=1.0,
            staleness_mean=2 + time_s % 2,
            staleness_max=9,
            core_share=0.98,
        )
        if time_s % 5:
            return
        self.record("eval", time_s, loss=loss + 0.05, accuracy=0.98 - loss / 3, rows=360, final=False)
        for shard in range(self.shards):
            self.record(
                "shard",
                time_s,
                shard=shard,
                updates=int(10 * time_s),
                fetches=int(10 * time_s),
                clients=each,
                refused={"stale": 1, "not_finite": 0, "too_large": 0},
                staleness_mean=2.5,
                staleness_max=9,
                busy_s=0.3 * time_s,
                interval_busy=0.3,
                bytes_in=10**6,
                bytes_out=10**6,
                staleness_histogram=[1, 5, 20, 8, 2, 0, 0, 0, 0, 1],
            )
        self.record(
            "replicas",
            time_s,
            interval_s=5.0,
            learned=[1000] * each,
            minibatches=[16] * each,
            busy_s=[4.5] * each,
            computed_s=[3.0] * each,
            waits_s={"fetch": [1.0] * each, "data": [0.5] * each},
            staleness_mean=[2.0] * each,
            staleness_max=[9] * each,
            pushes=[16] * each,
            refused=[0] * each,
        )

    def describe(self, text: str = "", classes: int = 10) -> None:
        """Write config.toml, run.json and summary.json; `text` stands in every text."""
        roles = ["coordinator", *(f"shard {i}" for i in range(self.shards))]
        roles += [f"replica {r} partition {p}" for r in range(self.replicas) for p in range(self.partitions)]
        ranks = [
            {
                "rank": i,
                "role": role,
                "host": f"node{i // 16}{text}",
                "threads": 1,
                "cores": f"{i % 16}{text}",
            }
            for i, role in enumerate(roles)
        ]
        square = [
            [0 if i == j else 100 * (i + 1) for j in range(self.partitions)] for i in range(self.partitions)
        ]
        run = {
            "source": f"run.toml{text}",
            "equation": f"{len(roles)} ranks = ...{text}",
            "seed": 1,
            "mpi": text,
            "versions": {"dbmpi": f"0.2.0{text}"},
            "ranks": ranks,
            "nodes": [{"host": "node0", "cores": 16}],
            "data": {"class_names": [f"class {i}{text}" for i in range(classes)]},
            "traffic": {
                "boundary_bytes_per_example": square,
                "shard_bytes": [[1000] * self.shards] * self.partitions,
            },
        }
        summary = {
            "stop_reason": f"epochs{text}",
            "status": 0,
            "examples_per_s": 640.0,
            "train_s": 60.0,
            "updates": 600,
            "staleness_mean": 2.5,
            "staleness_max": 9,
            "refused": {"stale": 2},
            "goodput": 0.7,
            "applied_s": 250.0,
            "available_s": 372.0,
            "busy_s": 360.0,
            "waits_s": {"fetch": 30.0, "coordinator": 7.0},
            "core_share": 0.98,
        }
        (self.path / "config.toml").write_text('[data]\npath = "digits"\n')
        (self.path / "run.json").write_text(json.dumps(run))
        (self.path / "summary.json").write_text(json.dumps(summary))

    def end(self, time_s: float, classes: int = 10, finished: bool = True) -> None:
        """End the last job, with an evaluation of so many classes."""
        confusion = [[90 if i == j else (i * j) % 3 for j in range(classes)] for i in range(classes)]
        shown = {"confusion": confusion, "recall": [row[i] / sum(row) for i, row in enumerate(confusion)]}
        self.record("eval", time_s, loss=0.1, accuracy=0.97, rows=360, final=True, **shown)
        self.record("job", time_s, began=False, wall_s=2 + time_s)
        if finished:
            (self.path / "finished").touch()

    def write(self, *more: str) -> Path:
        """Write metrics.jsonl, with more lines at its end; return the directory."""
        (self.path / "metrics.jsonl").write_text("\n".join([*self.lines, *more]) + "\n")
        return self.path


def whole(path: Path, text: str = "", classes: int = 10, **counts: int) -> Path:
    """Make a run with everything: a death, a job that was killed and one that went on, and checkpoints."""
    run = Recorded(path, **counts)
    run.describe(text, classes)
    run.begin()
    for second in range(1, 41):
        run.second(second)
        if second == 22:
            run.record("event", 22.0, text=f"replica 2 has left: rank 5 died{text}", about="death")
        if second == 30:
            run.record("checkpoint", 30.0, number=1, bytes=10**6, stall_s=0.01, write_s=0.2, score=0.9)
    run.begin(30.0, wall_s=3.0)
    run.record("event", 30.0, text="goes on from checkpoint 1", about="resume")
    for second in range(31, 61):
        run.second(second)
    run.end(60.0, classes)
    return run.write()


def hostile(path: Path) -> Path:
    """Make a run whose texts and values are not what a run would write."""
    whole(path, HOSTILE)
    odd = [
        '{"kind": "</script>", "time_s": 1, "=1+1": "=1+1"}',
        '{"kind": "../../away", "time_s": 2}',
        '{"kind": "train", "time_s": 61, "loss": NaN, "accuracy": Infinity, "waits": [1], "step": "x"}',
        '{"kind": "train", "time_s": 62, "loss": 1e308, "waits": {"fetch": "x"}, "examples_per_s": -1e308}',
        '{"kind": "eval", "time_s": 62, "final": true, "split": ["x"], "recall": ["x"], "confusion": [[1]]}',
        '{"kind": "shard", "time_s": 62, "shard": "x", "updates": null, "staleness_histogram": "x"}',
        '{"kind": "replicas", "time_s": 62, "learned": "x", "waits_s": [1], "pushes": [null, {}]}',
        '{"kind": "checkpoint", "time_s": 62, "number": {}, "bytes": "x"}',
        json.dumps({"kind": "event", "time_s": 62, "text": "x" * 100_000, "about": HOSTILE}),
        '{"kind": "event", "time_s": 62, "text": null}',
        '{"kind": "job", "time_s": 63, "began": true, "at": "' + "x" * 1000 + '"}',
        '{"kind": "train", "time_s"',
    ]
    with (path / "metrics.jsonl").open("a") as file:
        file.write("\n".join(odd) + "\n")
    return path


ODD = (
    None, True, "x", "", [], {}, [None], ["x"], [[1]], {"a": 1}, math.nan, math.inf, -math.inf, 10**400,
    -1, 0, 2.5, 1e308, -1e308, 1e-320, 2**63, HOSTILE, [1e308] * 3, [math.nan] * 3,
)  # fmt: skip


def spoil(value: Any, rng: random.Random, share: float) -> Any:
    """Return what JSON has, with odd values in the place of a share of all, and some fields left out."""
    if isinstance(value, dict):
        kept = {name: one for name, one in value.items() if name == "kind" or rng.random() > share / 4}
        return {name: _odd(one, rng, share * (name != "kind")) for name, one in kept.items()}
    if isinstance(value, list):
        return [_odd(one, rng, share) for one in value]
    return value


def _odd(value: Any, rng: random.Random, share: float) -> Any:
    return rng.choice(ODD) if rng.random() < share else spoil(value, rng, share)


def spoilt(path: Path, seed: int) -> Path:
    """Make a run of which everything may be odd."""
    whole(path)
    rng = random.Random(seed)
    share = rng.choice((0.005, 0.02, 0.1, 0.3))
    for name in ("run.json", "summary.json"):
        (path / name).write_text(json.dumps(spoil(json.loads((path / name).read_text()), rng, share)))
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    if rng.random() < 0.5:
        lines += [{"kind": "iteration", "time_s": 61 + i, "iteration": i, **ITERATION} for i in range(5)]
        lines += [
            {"kind": "replica", "time_s": 66, "replica": i, "done": 3, "won": 2, "lost": 1} for i in range(3)
        ]
    (path / "metrics.jsonl").write_text("\n".join(json.dumps(spoil(one, rng, share)) for one in lines))
    return path
