"""Spoken digits: replicas and L-BFGS beside serial training and PyTorch; frames right, errors by recording.

With --recordings, the free spoken digit data set, as docs/prepare.md prepares it; examples/speech.toml. Each
group is trained once, Downpour by three seeds: points below serial training after as many examples, for each
rule, and the standard error over recordings of that difference. PyTorch has the same first parameters,
minibatch, rule, rate and warm-up. L-BFGS on the whole training set, in 32 bits: by how much the loss of any
iteration differs from that of a serial run, and the loss after as many passes beside `torch.optim.LBFGS`,
from the same start.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial

import numpy as np

from scripts.bench import spoken, spoken_runs
from scripts.bench.core import Aim, Group, Options, Row, Turn
from scripts.bench.spoken_runs import Trained
from scripts.ways import rule

ROUNDS, SEEDS = 1, 3
RULES = {"Adagrad": rule("adagrad"), "SGD": [*rule("sgd"), "downpour.learning_rate=1"]}
REPLICAS = (2, 6)
POINTS, SAME = Aim(at_most=1.0), Aim(at_most=1e-5)
SERIAL, ITERATIONS = "serial", 20
SHAPES = {SERIAL: (1, 1, 1), "2 replicas": (1, 2, 1), "2 partitions, 2 shards": (2, 1, 2)}
Way = Callable[[int], Trained]  # by a seed
Losses = Callable[[str], list[dict[str, float]]]


def groups(options: Options) -> Iterator[Group]:
    """Yield the replicas and PyTorch, for each rule, then L-BFGS; serial training is run once a seed."""
    for name, settings in RULES.items():
        serial = cache(partial(spoken_runs.downpour, options, settings, 0))
        for replicas in REPLICAS:
            way = partial(spoken_runs.downpour, options, settings, replicas)
            yield compared(options, f"{name}, {replicas} replicas", serial, way, POINTS)
        yield compared(options, f"{name}, PyTorch", serial, partial(by_pytorch, options, serial))
    yield batch(options)


def by_pytorch(options: Options, serial: Way, seed: int) -> Trained:
    """Train by PyTorch as the serial run of a seed was trained."""
    return spoken_runs.as_by_dbmpi(options, serial(seed), seed)


def compared(options: Options, title: str, serial: Way, way: Way, aim: Aim | None = None) -> Group:
    """Return a way to train beside serial training."""
    rows = [
        Row(f"{title}, below serial", f"{title} lost", "points", aim=aim),
        Row(f"{title}, standard error of that", f"{title} error", "points"),
        Row(f"{title}, frames right", f"{title} accuracy", "%"),
        Row("serial, frames right", f"{title} serial", "%"),
        Row(f"{title}, examples/s", f"{title} rate", "examples/s", (f"{title} serial rate",)),
        Row(f"{title}, mean staleness", f"{title} staleness", "updates"),
    ]
    return Group(title, {title: partial(beside, options, title, serial, way)}, rows)


def beside(options: Options, title: str, serial: Way, way: Way) -> Mapping[str, float]:
    """Train by all seeds in both ways; return the figures."""
    frames = spoken.frames(options)
    seeds = range(options.seed, options.seed + SEEDS)
    alone, found = ([one(seed) for seed in seeds] for one in (serial, way))
    before, after = (np.mean([one.right for one in some], axis=0) for some in (alone, found))
    percent = 100 / frames.sum()
    figures = {
        "lost": percent * (before - after).sum(),
        "error": 100 * spoken.standard_error(before - after, frames),
        "accuracy": percent * after.sum(),
        "serial": percent * before.sum(),
        "rate": mean("examples_per_s", found),
        "serial rate": mean("examples_per_s", alone),
        "staleness": mean("staleness_mean", found),
    }
    return {f"{title} {name}": figure for name, figure in figures.items()}


def mean(key: str, trained: list[Trained]) -> float:
    """Return the mean of a figure of the summaries."""
    return float(np.mean([one.summary.get(key, 0.0) for one in trained]))


def batch(options: Options) -> Group:
    """Return L-BFGS in several shapes, and by PyTorch."""

    @cache
    def losses(name: str) -> list[dict[str, float]]:
        return spoken_runs.iterations(options, *SHAPES[name], ITERATIONS)

    turns: dict[str, Turn] = {name: partial(apart, losses, name) for name in SHAPES}
    turns["PyTorch"] = partial(by_torch_lbfgs, options, losses)
    title = "L-BFGS"
    rows = [
        Row(f"{title}, {name}, loss off serial by", name, "", aim=SAME) for name in SHAPES if name != SERIAL
    ]
    rows += [Row(f"{title}, {name}, examples/s", f"{name} rate", "examples/s") for name in turns]
    rows.append(Row(f"{title}, loss at the end", f"{SERIAL} loss", "", ("PyTorch loss",), lower=True))
    return Group(title, turns, rows)


def apart(losses: Losses, name: str) -> Mapping[str, float]:
    """Return by which share the loss of an iteration differs most from that of the serial run, and more."""
    alone, found = losses(SERIAL), losses(name)
    most = max(abs(other["loss"] / one["loss"] - 1) for one, other in zip(alone, found, strict=True))
    rate = float(np.median([one["examples_per_s"] for one in found]))
    return {name: most, f"{name} rate": rate, f"{name} loss": found[-1]["loss"]}


def by_torch_lbfgs(options: Options, losses: Losses) -> Mapping[str, float]:
    """Return PyTorch's loss after as many passes as the serial run has made, and its speed."""
    passes = sum(one["evaluations"] for one in losses(SERIAL))
    found = spoken_runs.pytorch(options, options.seed, {"rule": "lbfgs", "passes": passes})
    return {"PyTorch loss": min(found["losses"]), "PyTorch rate": found["examples_per_s"]}
