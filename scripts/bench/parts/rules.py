"""Rules of the shards under many replicas: examples to the training loss that serial training has, digits.

28 and 64 ranks, divided as the program divides them, n_fetch = n_push = 1, minibatch 16. Each rule has its
best of five rates, and all other settings as they are by default; Adagrad "as it was" has no warm-up. The
loss is that of serial Adagrad after 10 epochs: the mean over an epoch of what was learned from, as the train
records have it. All trainings have the same length, as a warm-up may follow from it.
"""

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from scripts.bench import runs
from scripts.bench.core import Aim, Group, Options, Row, seeded
from scripts.training_runs import train
from scripts.ways import ADAGRAD_AS_IT_WAS, MINIBATCH_16, rule

RANKS, EPOCHS, MOST_EPOCHS, DIGITS, LIMIT_S = (28, 64), 10, 60, 1437, 200
ROUNDS = 1
AIM = Aim(at_most=0.7)
BASE = "adagrad, as it was"
# Settings, and five rates.
RULES: dict[str, tuple[list[str], tuple[float, ...]]] = {
    BASE: (ADAGRAD_AS_IT_WAS, (0.005, 0.01, 0.02, 0.04, 0.08)),
    "adagrad": (rule("adagrad"), (0.005, 0.01, 0.02, 0.04, 0.08)),
    "adarevision": (rule("adarevision"), (0.02, 0.04, 0.08, 0.16, 0.32)),
    "adam": (rule("adam"), (0.00025, 0.0005, 0.001, 0.002, 0.004)),
    "momentum": (rule("momentum"), (0.0003, 0.001, 0.003, 0.01, 0.03)),
}


def groups(options: Options) -> Iterator[Group]:
    """Yield a group for each number of ranks and each rule, with Adagrad as it was in all of them."""
    loss = cache(partial(serial_loss, options))
    for ranks in RANKS:
        base = cache(partial(fewest, options, ranks, BASE, loss))
        for name in RULES:
            title = f"{ranks} ranks, {name}"
            turns = {BASE: seeded(options, base)}
            if name == BASE:
                rows = [Row(title, BASE, "examples")]
            else:
                turns[name] = seeded(options, partial(fewest, options, ranks, name, loss))
                rows = [Row(title, name, "examples", (BASE,), AIM, lower=True, pair=True)]
            rows += [
                Row(f"{title}, its rate", f"{name} rate", ""),
                Row(f"{title}, staleness", f"{name} staleness", "updates"),
            ]
            yield Group(title, turns, rows)


def fewest(options: Options, ranks: int, name: str, loss: Any, seed: int) -> Mapping[str, float]:
    """Train with each rate; return the fewest examples to the serial loss, the rate, and the staleness."""
    settings, rates = RULES[name]
    best = {name: float("inf"), f"{name} rate": float("nan"), f"{name} staleness": float("nan")}
    for rate in rates:
        asked = [*MINIBATCH_16, *settings, f"downpour.learning_rate={rate}"]
        records, end = trained(options, ranks, asked, MOST_EPOCHS, seed)
        examples = examples_to(records, loss(seed))
        if examples < best[name]:
            best = {name: examples, f"{name} rate": rate, f"{name} staleness": end["staleness_mean"]}
    return best


def serial_loss(options: Options, seed: int) -> float:
    """Return the training loss of the last epoch of a serial run."""
    records, _ = trained(options, 1, ADAGRAD_AS_IT_WAS, EPOCHS, seed)
    return [*epoch_means(records)][-1][1]


def trained(
    options: Options, ranks: int, settings: Sequence[str], epochs: float, seed: int
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Train on the digits; return the train records, one for each portion, and the summary."""
    asked = [*runs.QUIET, *settings, f"train.epochs={epochs}", f"train.seed={seed}", "output.every_s=1e-6"]
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        end = train(ranks, Path(folder), asked, LIMIT_S, good=(0, 3))
        lines = [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == "train"], end


def epoch_means(records: Iterable[Mapping[str, Any]]) -> Iterator[tuple[int, float]]:
    """Yield examples, and the mean loss of the last epoch up to there, or a little more."""
    seen, sums, first = [0], [0.0], 0
    for one in records:
        loss = float("inf") if one["loss"] is None else one["loss"]
        sums.append(sums[-1] + loss * (one["examples"] - seen[-1]))
        seen.append(one["examples"])
        while seen[-1] - seen[first + 1] >= DIGITS:
            first += 1
        if seen[-1] - seen[first] >= DIGITS:
            yield seen[-1], (sums[-1] - sums[first]) / (seen[-1] - seen[first])


def examples_to(records: Iterable[Mapping[str, Any]], loss: float) -> float:
    """Return the examples until the mean loss of an epoch is so low; infinity where it never is."""
    return next((float(examples) for examples, mean in epoch_means(records) if mean <= loss), float("inf"))
