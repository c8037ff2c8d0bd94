"""Push, then fetch, of 42 million parameters, beside raw MPI of as many bytes between the same processes.

A real run of the speech network on three ranks, whose replica computes no gradient (`scripts.bench.rank`):
what is left of a step is one exchange with the shard, the rule applied. Then the two processes send as many
bytes there and back by Isend and Irecv, in chunks of several lengths, of which the best counts.
"""

import json
import statistics
from collections.abc import Iterator, Mapping

from scripts.bench import rank, runs
from scripts.bench.core import Aim, Group, Options, Row, Turn
from scripts.bench.runs import SPEECH

PARAMETERS, ITEM = 41_777_152, 4
RANKS, STEPS = 3, 25
SETTINGS = ["cluster.shards=1", "cluster.replicas=1", "cluster.partitions=1", "cluster.threads=1"]
LIMIT_S = 200
RAW = tuple(f"raw, {name}" for name in rank.CHUNKS)


def groups(options: Options) -> Iterator[Group]:
    """Yield the exchange with Adagrad, the default rule, and with SGD."""
    for rule in ("adagrad", "sgd"):
        rows = [
            Row(f"push, fetch of 42 M, {rule}", "exchange", "GB/s", RAW, Aim(0.8)),
            Row(f"push, fetch of 42 M, {rule}, seconds", "exchange_s", "s"),
        ]
        if rule == "adagrad":
            rows.append(Row("raw Isend/Irecv, best chunks", "best", "GB/s", ("copy",)))
        yield Group(f"transport {rule}", {"run": exchange(options, rule)}, rows)


def exchange(options: Options, rule: str) -> Turn:
    """Return a turn: one run; GB/s of the exchange, of raw MPI by the length of its chunks, and of a copy."""
    size = PARAMETERS * ITEM

    def turn() -> Mapping[str, float]:
        out = options.folder / "transport.json"
        out.unlink(missing_ok=True)
        file = runs.data(options.folder, SPEECH.shape, SPEECH.classes, 4000)
        settings = [
            f"data.path={json.dumps(str(file))}",
            *SPEECH.settings,
            *SETTINGS,
            f"downpour.rule={rule}",
        ]
        settings += ["train.minibatch=16", "train.epochs=none", f"train.steps={STEPS}"]
        runs.run(options.folder, RANKS, settings, rank.program("raw", size, out), timeout_s=LIMIT_S)
        found = json.loads(out.read_text())
        seconds = {name: statistics.median(times) for name, times in found["raw"].items()}
        step_s = statistics.median(found["steps"])
        speeds = {name: 2 * size / taken / 1e9 for name, taken in seconds.items()}
        copy = speeds.pop("copy")
        given = {f"raw, {name}": speed for name, speed in speeds.items()}
        given |= {"exchange": 2 * size / step_s / 1e9, "exchange_s": step_s}
        return given | {"copy": copy, "best": max(speeds.values())}

    return turn
