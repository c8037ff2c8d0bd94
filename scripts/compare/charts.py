"""The charts of the comparison, drawn as SVG."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from scripts.compare.curves import Curve, Point, best

STYLES = {  # colours that the colour-blind tell apart; line and marker tell without colour
    "downpour": ("#0072b2", "-", "o"),
    "lbfgs": ("#d55e00", "--", "s"),
    "cg": ("#009e73", "-.", "^"),
    "lbfgs-cold": ("#555555", ":", "x"),
}


def draw(
    path: Path, curves: Sequence[Curve], where: Callable[[Point], float], label: str, scale: str = "linear"
) -> None:
    """Draw accuracies along an axis as an SVG file, the same one each time.

    The accuracy is drawn by the logarithm of the error, so that 98 and 99 % lie as far apart as 80 and 90 %.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter, LogLocator

    with rc_context({"svg.hashsalt": "dbmpi", "svg.fonttype": "none", "font.size": 10}):
        figure = Figure(figsize=(7.5, 4.5), layout="constrained")
        axes = figure.add_subplot()
        floor = max(min(1 - (best(curve) or 0) for curve in curves), 0.002)  # a logarithm must have one
        for curve in curves:
            draw_curve(axes, curve, where, floor)
        draw_warmstart(axes, curves, where)
        axes.set_xlabel(label)
        axes.set_xscale(scale)
        if scale == "log":
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter(EngFormatter())
        scale_accuracy(axes, floor)
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.legend(loc="lower right", framealpha=1, handlelength=3.5)
        figure.savefig(path, metadata={"Date": None})


def draw_curve(axes: Any, curve: Curve, where: Callable[[Point], float], floor: float) -> None:
    """Draw one run, with a marker here and there."""
    colour, line, marker = STYLES[curve.key]
    xs = [where(point) for point in curve.points]
    errors = [max(1 - point.accuracy, floor) for point in curve.points]
    axes.plot(
        xs, errors, color=colour, linestyle=line, linewidth=1.8, marker=marker, markersize=5, markevery=0.08,
        label=curve.name,
    )  # fmt: skip


def draw_warmstart(axes: Any, curves: Sequence[Curve], where: Callable[[Point], float]) -> None:
    """Mark where the warmstart of the first run that had one ended."""
    for curve in curves:
        if curve.warm:
            x = where(Point(*curve.warm, 0.0))
            axes.axvline(x, color="#888888", linewidth=1.2, label="end of the warmstart", zorder=0)
            return


def scale_accuracy(axes: Any, floor: float) -> None:
    """Scale and label the axis of accuracies, whose values are errors; what is below 80 % is left out."""
    errors = [0.2, 0.1, 0.07, 0.05, 0.04, 0.03, 0.025, 0.02, 0.0175, 0.015, 0.0125, 0.01, 0.007, 0.005]
    axes.set_yscale("log")
    axes.set_yticks(errors, [f"{100 * (1 - error):g} %" for error in errors])
    axes.minorticks_off()
    axes.set_ylim(max(0.2, 2 * floor), floor / 1.1)  # after the ticks, which widen it
    axes.set_ylabel("test accuracy (by the logarithm of the error)")
