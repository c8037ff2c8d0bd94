"""Curves of runs, read from their metrics: accuracy against time and examples."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NAMES = {
    "downpour": "Downpour",
    "lbfgs": "L-BFGS",
    "cg": "conjugate gradients",
    "lbfgs-cold": "L-BFGS, no warmstart",
}
LEVELS = [0.5, 0.8, 0.9, 0.93, 0.95, 0.96, 0.97, 0.975, 0.98, 0.9825, 0.985, 0.9875, 0.99, 0.995]
COLUMNS = 6


@dataclass(frozen=True)
class Point:
    """One evaluation: when, after how many examples, and its result."""

    seconds: float
    examples: int
    accuracy: float


@dataclass(frozen=True)
class Curve:
    """One run: its evaluations, where its warmstart ended (seconds, examples), and what else it left."""

    key: str
    points: list[Point]
    warm: tuple[float, int] | None
    iterations: list[dict[str, Any]]
    loss: float | None
    summary: dict[str, Any]

    @property
    def name(self) -> str:
        """What the page calls it."""
        return NAMES[self.key]


def read_curve(key: str, run_dir: Path) -> Curve:
    """Read what a run left in its directory."""
    lines = (run_dir / "metrics.jsonl").read_text().splitlines()
    summary = json.loads((run_dir / "summary.json").read_text())
    return curve_of(key, [json.loads(line) for line in lines], summary)


def curve_of(key: str, records: Sequence[Mapping[str, Any]], summary: dict[str, Any]) -> Curve:
    """Make a curve of the records of a run; an evaluation that was not finite is left out."""
    kinds = {kind: [dict(r) for r in records if r["kind"] == kind] for kind in ("train", "eval", "iteration")}
    points = [
        Point(r["time_s"], r["examples"], r["accuracy"]) for r in kinds["eval"] if r["accuracy"] is not None
    ]
    iterations = kinds["iteration"]
    losses = iterations or kinds["train"]
    warm = end_of_warmstart(iterations[0]) if iterations else None
    return Curve(key, points, warm, iterations, losses[-1]["loss"] if losses else None, summary)


def end_of_warmstart(start: Mapping[str, Any]) -> tuple[float, int] | None:
    """Return seconds and examples of the warmstart by the record of iteration 0, if there was one.

    Iteration 0 is the first pass; what was before it is the warmstart.
    """
    examples = start["examples"] - round(start["examples_per_s"] * start["passes_s"])
    seconds = start["time_s"] - start["passes_s"] - start["commands_s"] - start["bookkeeping_s"]
    return (seconds, examples) if examples > 0 else None


def evaluations_s(curve: Curve) -> float:
    """Return the seconds between the iterations of Sandblaster that are of evaluations."""
    pairs = zip(curve.iterations, curve.iterations[1:], strict=False)
    own = [r["passes_s"] + r["commands_s"] + r["bookkeeping_s"] for r in curve.iterations[1:]]
    return sum(after["time_s"] - before["time_s"] for before, after in pairs) - sum(own)


def at(curve: Curve, where: Callable[[Point], float], limit: float) -> Point | None:
    """Return the last evaluation up to a limit; None where there is none yet, or where the run is over."""
    before = [point for point in curve.points if where(point) <= limit]
    return before[-1] if before and where(curve.points[-1]) >= limit else None


def reaching(curve: Curve, accuracy: float) -> Point | None:
    """Return the first evaluation with at least this accuracy."""
    return next((point for point in curve.points if point.accuracy >= accuracy), None)


def best(curve: Curve) -> float | None:
    """Return the highest accuracy of all evaluations."""
    return max((point.accuracy for point in curve.points), default=None)


def round_numbers(low: float, high: float, most: int = COLUMNS) -> list[float]:
    """Return the largest of 1, 2, 5, 10, ... and their tenths and so on that lie from `low` to `high`."""
    numbers = [digit * 10.0**power for power in range(-3, 13) for digit in (1, 2, 5)]
    return [number for number in numbers if low <= number <= high][-most:]


def levels(curves: Sequence[Curve]) -> list[float]:
    """Return the highest accuracies that one of the curves reaches, of a fixed scale."""
    return [level for level in LEVELS if any(reaching(curve, level) for curve in curves)][-COLUMNS:]
