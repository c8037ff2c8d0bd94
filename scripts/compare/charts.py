"""The charts of the comparison, as SVG: a panel for each number of replicas, idle above, busy below."""

from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

from scripts.compare.curves import Curve, top
from scripts.compare.plan import SERIAL, WAYS

STYLES = {  # colours that the colour-blind tell apart; line and marker tell without colour
    SERIAL: ("#000000", "-", ""),
    "adagrad": ("#0072b2", "-", "o"),
    "adam": ("#56b4e9", "-", "v"),
    "adarevision": ("#d55e00", "-", "s"),
    "average": ("#cc79a7", "-.", "D"),
    "sync": ("#009e73", "--", "^"),
    "backups": ("#7a9a01", "--", "P"),
    "lbfgs": ("#e69f00", ":", "x"),
    "cg": ("#777777", ":", "+"),
}
SIZE = (3.4, 3.2)  # inches of a panel
WORST = 0.2  # error: what is below is left out


def draw(path: Path, curves: Sequence[Curve], what: str, label: str, scale: str = "linear") -> None:
    """Draw accuracies along an attribute of points as an SVG file, the same one each time.

    The accuracy is drawn by the logarithm of the error, so that 98 and 99 % lie as far apart as 80 and 90 %.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    sizes = sorted({curve.case.replicas for curve in curves if curve.case.replicas}) or [0]
    loads = sorted({curve.case.busy for curve in curves})
    with rc_context({"svg.hashsalt": "dbmpi", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(SIZE[0] * len(sizes), SIZE[1] * len(loads) + 0.8), layout="constrained")
        grid = figure.subplots(len(loads), len(sizes), sharex=True, sharey=True, squeeze=False)
        for busy, row in zip(loads, grid, strict=True):
            for size, axes in zip(sizes, row, strict=True):
                shown = [one for one in curves if one.case.busy == busy and one.case.replicas in (0, size)]
                panel(axes, shown, what, scale, max(1 - top(curves), 0.002))
                axes.set_title(f"{size} replicas, {'busy' if busy else 'idle'}")
        figure.supxlabel(label)
        figure.supylabel("test accuracy (by the logarithm of the error)")
        known = [axes.get_legend_handles_labels() for axes in figure.axes]
        handles = {text: line for lines, texts in known for line, text in zip(lines, texts, strict=True)}
        figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=3, handlelength=3.5)
        figure.savefig(path, metadata={"Date": None})


def panel(axes: Any, curves: Sequence[Curve], what: str, scale: str, floor: float) -> None:
    """Draw the curves of one panel; `floor` is the least error, as a logarithm must have one."""
    from matplotlib.ticker import EngFormatter, LogLocator

    for curve in curves:
        colour, line, marker = STYLES[curve.case.key]
        errors = [max(1 - point.accuracy, floor) for point in curve.points]
        axes.plot(
            [*map(attrgetter(what), curve.points)], errors, color=colour, linestyle=line, linewidth=1.4,
            marker=marker, markersize=4, markevery=0.12, label=WAYS[curve.case.key][0],
        )  # fmt: skip
    axes.set_xscale(scale)
    if scale == "log":
        axes.xaxis.set_major_locator(LogLocator())
        axes.xaxis.set_major_formatter(EngFormatter())
    scale_accuracy(axes, floor)
    axes.grid(color="#dddddd", linewidth=0.6)


def scale_accuracy(axes: Any, floor: float) -> None:
    """Scale and label the axis of accuracies, whose values are errors."""
    errors = [0.2, 0.1, 0.07, 0.05, 0.04, 0.03, 0.025, 0.02, 0.0175, 0.015, 0.0125, 0.01, 0.007, 0.005]
    axes.set_yscale("log")
    axes.set_yticks(errors, [f"{100 * (1 - error):g} %" for error in errors])
    axes.minorticks_off()
    axes.set_ylim(max(WORST, 2 * floor), floor / 1.1)  # after the ticks, which widen it
