"""Curves of runs, read from their metrics: accuracy against time and examples."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.compare.plan import Case


@dataclass(frozen=True)
class Point:
    """One evaluation: when, after how many examples, and its result."""

    seconds: float
    examples: int
    accuracy: float


@dataclass(frozen=True)
class Curve:
    """One run: its evaluations, and its summary."""

    case: Case
    points: list[Point]
    summary: Mapping[str, Any]


def read_run(run_dir: Path) -> dict[str, Any]:
    """Return what is kept of a run, by its directory: `evaluations`, `summary`, and `about`, its versions."""
    lines = map(json.loads, (run_dir / "metrics.jsonl").read_text().splitlines())
    return {
        "evaluations": [
            [one["time_s"], one["examples"], one["accuracy"]]
            for one in lines
            if one["kind"] == "eval" and one["accuracy"] is not None
        ],
        "summary": json.loads((run_dir / "summary.json").read_text()),
        "about": json.loads((run_dir / "run.json").read_text()),
    }


def curve_of(case: Case, kept: Mapping[str, Any]) -> Curve:
    """Make a curve of what is kept of a run."""
    return Curve(case, [Point(*point) for point in kept["evaluations"]], kept["summary"])


def at(curve: Curve, where: Callable[[Point], float], limit: float) -> Point | None:
    """Return the last evaluation up to a limit; None where there is none yet, or the run was over before."""
    before = [point for point in curve.points if where(point) <= limit]
    return before[-1] if before and where(curve.points[-1]) >= limit else None


def reaching(curve: Curve, accuracy: float) -> Point | None:
    """Return the first evaluation with at least this accuracy."""
    return next((point for point in curve.points if point.accuracy >= accuracy), None)


def best(curve: Curve) -> float | None:
    """Return the highest accuracy of all evaluations."""
    return max((point.accuracy for point in curve.points), default=None)


def within(curve: Curve, seconds: float) -> float | None:
    """Return the highest accuracy up to a time."""
    return max((point.accuracy for point in curve.points if point.seconds <= seconds), default=None)


def top(curves: Sequence[Curve]) -> float:
    """Return the highest accuracy of all."""
    return max((found for curve in curves if (found := best(curve)) is not None), default=0.5)
