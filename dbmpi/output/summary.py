"""The end of a run: summary.json, and the last lines that the user sees."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dbmpi.errors import STATUS_STOPPED
from dbmpi.output.evaluation_sums import EvaluationSums
from dbmpi.output.goodput import goodput
from dbmpi.output.metrics import MetricsLog
from dbmpi.output.replica_sums import summed
from dbmpi.output.schema import VERSION
from dbmpi.output.totals import plain
from dbmpi.text import several

ENDED_BY = {"silence": "the silence of a rank", "death": "the death of the last replica"}  # others say it all
CONFUSION = "confusion"
APART = 0.02  # accuracy and balanced accuracy: beyond, both are shown


def summary(
    log: MetricsLog, reason: str, status: int, verdict: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the content of summary.json; `verdict` is what the losses showed (`Stopping.verdict`)."""
    result = {
        "schema": VERSION,
        "stop_reason": reason,
        "status": status,
        **(verdict or {}),
        **_scores(log),
        "examples_per_s": log.examples / log.train_s if log.train_s else 0.0,
        "wall_s": log.wall_s,
        "train_s": log.train_s,
        "steps": log.step,
        "examples": log.examples,
        "boundary_bytes": log.boundary_bytes,
        "boundary_messages": log.boundary_messages,
        **log.partition_time.shown(),
        **_goodput(log),
        "rows_again": log.rows_again,
        "rows_lost": log.rows_lost,
        "updates_lost": log.updates_lost,
        "examples_dropped": log.examples_dropped,
        **log.service.shown(),
        "replicas": summed(log.replicas),
        **log.batch,
        **_confusion(log),
        "unshown": log.unshown,
    }
    return {name: plain(value) for name, value in result.items()}


def _scores(log: MetricsLog) -> dict[str, Any]:
    """Return the results of the last parameters, and of the model on the test set if that is another."""
    watched, tested = log.final_evaluation, log.tested
    if log.watched == "test":
        return _of_split(log, "test", tested or watched)
    return _of_split(log, "test", tested or log.empty) | _of_split(log, "validation", watched)


def _of_split(log: MetricsLog, split: str, result: EvaluationSums) -> dict[str, Any]:
    """Return what was measured of a split, by name."""
    measured = {"accuracy": result.accuracy, "loss": result.loss, **log.measured(result)}
    return {f"{split}_{name}": value for name, value in measured.items() if name != CONFUSION}


def _confusion(log: MetricsLog) -> dict[str, Any]:
    """Return which classes were taken for which by the model on the test set, else by the last parameters."""
    found = log.measured(log.tested or log.final_evaluation)
    return {CONFUSION: found[CONFUSION]} if CONFUSION in found else {}


def _goodput(log: MetricsLog) -> dict[str, Any]:
    """Return the goodput of all jobs of the run, and the seconds that it is made of."""
    applied_s, available_s = log.applied_s, log.available_s
    return {"goodput": goodput(applied_s, available_s), "applied_s": applied_s, "available_s": available_s}


def conclusion(summary: Mapping[str, Any], run_dir: Path, complete: bool = True) -> str:
    """Return the last lines that the user sees; `complete` says whether all is there that should be."""
    worked = several(summary["steps"], "minibatch", "minibatches")
    if "iterations" in summary:
        worked = (
            several(summary["iterations"], "iteration") + ", " + several(summary["passes"], "pass", "passes")
        )
    reason = ENDED_BY.get(summary["stop_reason"], summary["stop_reason"])
    return (
        f"dbmpi: ended by {reason} after {worked} in "
        f"{summary['train_s']:.1f} s ({summary['examples_per_s']:,.0f} examples/s)\n"
        f"{_dropped(summary)}{_tested(summary)}"
        f"dbmpi: {'everything' if complete else 'what could be written'} is in {run_dir}"
    )


def _dropped(summary: Mapping[str, Any]) -> str:
    """Return the line about gradients that came too late for their rounds, if there were such."""
    dropped = summary["examples_dropped"]
    if not dropped:
        return ""
    share = dropped / summary["examples"]
    return (
        f"dbmpi: {dropped:,} of the examples ({share:.0%}) came too late for their rounds, and were dropped\n"
    )


def _tested(summary: Mapping[str, Any]) -> str:
    """Return the line about the last parameters; nothing where there was no time to evaluate them."""
    if "validation_loss" not in summary:
        return _result(summary, "test")
    unseen = summary["status"] == STATUS_STOPPED  # test is looked at when the run is over
    return _result(summary, "validation") + ("" if unseen else _result(summary, "test"))


def _result(summary: Mapping[str, Any], split: str) -> str:
    accuracy, loss = summary[f"{split}_accuracy"], summary[f"{split}_loss"]
    if loss is None and summary["stop_reason"] in ("signal", "silence", "death"):
        return ""
    tested = "not finite" if loss is None else f"{loss:.4f}" if abs(loss) < 1e4 else f"{loss:.4g}"
    accurate = "" if accuracy is None else f", accuracy {accuracy:.2%}{_of_classes(summary, split)}"
    r2 = summary.get(f"{split}_r2")
    return f"dbmpi: {split} loss {tested}{accurate}{'' if r2 is None else f', R2 {r2:.4f}'}\n"


def _of_classes(summary: Mapping[str, Any], split: str) -> str:
    """Return how classes or labels fare one by one, where the accuracy alone would show too much."""
    balanced, f1 = summary.get(f"{split}_balanced_accuracy"), summary.get(f"{split}_macro_f1")
    if f1 is not None:
        return f", macro F1 {f1:.4f}"
    apart = balanced is not None and abs(balanced - summary[f"{split}_accuracy"]) >= APART
    return f", balanced {balanced:.2%}" if apart else ""
