"""Says what is wrong with how a job ended, and with what a run has left."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts import processes
from scripts.chaos import problem
from scripts.chaos.failing import audit
from scripts.chaos.jobs import Mode, records

Found = Mapping[int, audit.Saved | audit.Broken]
SAME = 1e-5  # of a loss: sums depend on their order, a little even in float64
SLACK_S = 2.0  # until a checkpoint that is due has been taken and written, on a busy machine
MOST_SAID = 6000  # characters of a job


def manners(done: processes.Finished) -> list[str]:
    """Say what is wrong with how a job ended, whatever its status."""
    checks = {
        "hang": done.timed_out,
        "manners: a traceback": "Traceback" in done.out + done.err,
        f"manners: processes left: {done.survivors}": bool(done.survivors),
    }
    return [text for text, wrong in checks.items() if wrong]


def newest(found: Found) -> audit.Saved | None:
    """Return the newest checkpoint that is whole."""
    return next((one for one in found.values() if isinstance(one, audit.Saved)), None)


def false_claims(found: Found) -> list[str]:
    """Name checkpoints that claim to be whole, and are not."""
    return [f"damage: {one}" for one in found.values() if isinstance(one, audit.Broken)]


def lost_work(seconds: float) -> list[str]:
    """Say whether more was lost than the interval of checkpoints."""
    if seconds <= problem.CHECKPOINT_S + SLACK_S:
        return []
    return [f"lost work: {seconds:.1f} s, with a checkpoint every {problem.CHECKPOINT_S:g} s"]


def loaded(done: processes.Finished, saved: audit.Vectors, run_dir: Path, number: int) -> list[str]:
    """Say whether a job that only loads leaves another model than the one that checkpoint `number` holds."""
    if done.timed_out or done.status:
        return [f"status {done.status} of a job that only loads"]
    if audit.same(saved, audit.model_tensors(run_dir / "model.h5")):
        return []
    return [f"damage: another model than checkpoint {number} was loaded"]


def end(run_dir: Path, summary: Mapping[str, Any]) -> list[str]:
    """Say what is wrong with what a run has left that has come to its end."""
    found = dict(audit.checkpoints(run_dir))
    last = newest(found)
    if last is None or not (run_dir / "model.h5").exists():
        return ["damage: no checkpoint or no model at the end"]
    saved = audit.tensors(run_dir / "checkpoints" / f"{last.number:06d}")
    checks = {
        "damage: finished is not there": (run_dir / "finished").exists(),
        "damage: summary.json": summary.get("status") == 0,
        "damage: model.h5 is not the last checkpoint": audit.same(
            saved, audit.model_tensors(run_dir / "model.h5")
        ),
        "damage: metrics.jsonl has broken lines": not audit.broken_lines(run_dir),
    }
    litter = [f"manners: {path} is left" for path in audit.litter(run_dir)]
    return [text for text, holds in checks.items() if not holds] + false_claims(found) + litter


def ledger(mode: Mode, summary: Mapping[str, Any], quiet: bool, portions: int) -> list[str]:
    """Say whether the counts of examples are not what they must be.

    Parameters
    ----------
    quiet
        Whether nobody died and nothing was lost: then nothing may be counted as such.
    portions
        How many may have been handed out twice, or their gradients lost.
    """
    rows = portions * problem.PORTION * problem.MINIBATCH
    most = {"rows_again": 0 if quiet else rows, "rows_lost": 0 if quiet else rows}
    wrong = [f"damage: {summary[name]} {name}" for name, limit in most.items() if summary[name] > limit]
    if quiet and summary["updates_lost"]:
        wrong.append(f"damage: {summary['updates_lost']} updates_lost")
    expected = problem.EPOCHS.get(mode.algorithm, 0) * problem.ROWS
    if expected and summary["examples"] != expected:
        wrong.append(f"damage: {summary['examples']} examples of {expected}")
    return wrong


def began_s(run_dir: Path) -> float:
    """Return the seconds from launch to training of the first job; 0 where it did not begin."""
    return next((one["wall_s"] for one in records(run_dir) if one["kind"] == "job"), 0.0)


def trained(run_dir: Path, algorithm: str) -> float:
    """Return the share of the training that is done, as the records tell."""
    known = records(run_dir)
    if algorithm == "sandblaster":
        return (
            max((one["iteration"] for one in known if one["kind"] == "iteration"), default=0)
            / problem.ITERATIONS
        )
    return known[-1]["examples"] / (problem.EPOCHS[algorithm] * problem.ROWS) if known else 0.0


def losses(run_dir: Path) -> list[float]:
    """Return the loss of each iteration of a batch method, the last of those that were made again."""
    last = {one["iteration"]: one["loss"] for one in records(run_dir) if one["kind"] == "iteration"}
    return [last[number] for number in sorted(last)]


def same_losses(found: Sequence[float], calm: Sequence[float]) -> list[str]:
    """Say whether iterations are not those of an undisturbed run: a portion was lost, or counted twice."""
    pairs = list(zip(found, calm, strict=False))
    first = next((i for i, (one, other) in enumerate(pairs) if abs(one - other) > SAME * abs(other)), None)
    if first is not None:
        return [f"damage: another loss from iteration {first} on"]
    return [f"damage: {len(found)} iterations of {len(calm)}"] if calm and len(found) != len(calm) else []


def shortened(text: str) -> str:
    """Return the beginning and the end of what a job said."""
    half = MOST_SAID // 2
    return text if len(text) <= MOST_SAID else f"{text[:half]}\n[...]\n{text[-half:]}"
