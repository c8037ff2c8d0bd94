"""The checkpoints of a run: `python -m dbmpi.checkpoint RUN` lists and verifies, `--show N` describes one.

Status 0: all are whole; 1: one is damaged; 2: there is none, or a mistake in the command line.
"""

import argparse
import os
import sys
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from dbmpi.checkpoint import manifest, pruning, resume
from dbmpi.checkpoint.directory import CHECKPOINTS, checkpoint_directory, checkpoint_numbers
from dbmpi.checkpoint.manifest import Checkpoint, Manifest
from dbmpi.checkpoint.whole_file import Damaged
from dbmpi.errors import STATUS_FAILURE, STATUS_OK, STATUS_USER_ERROR, UserError
from dbmpi.text import listed, nearest, one_line

MOST = 5  # runs in a message
PROGRAM = "python -m dbmpi.checkpoint"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line, and return the exit status."""
    description = "List, verify and show the checkpoints of a run."
    epilog = "The score is the accuracy, or minus the loss, of the very parameters that were saved."
    parser = argparse.ArgumentParser(prog=PROGRAM, description=description, epilog=epilog)
    parser.add_argument("run_dir", metavar="RUN", type=Path, help="run directory")
    parser.add_argument("--show", metavar="N", type=int, help="show what checkpoint N holds")
    given = parser.parse_args(argv)
    try:
        return show(given.run_dir, given.show) if given.show is not None else report(given.run_dir)
    except UserError as error:
        print(f"dbmpi: error: {one_line(error)}", file=sys.stderr)
        return STATUS_USER_ERROR


def report(run_dir: Path) -> int:
    """Print a line for each checkpoint, the oldest first; return the status."""
    found = list(resume.whole(run_dir))
    if not found:
        raise _none(run_dir)
    best = pruning.best_of(run_dir)
    print("number  taken (UTC)          algorithm        examples        MB     score  shards + replicas")
    for one in reversed(found):
        if isinstance(one, Damaged):
            print(f"damaged: {one}")
        else:
            print(_line(one, best is not None and best[1] == one.manifest.number))
    return STATUS_FAILURE if any(isinstance(one, Damaged) for one in found) else STATUS_OK


def _line(one: Checkpoint, best: bool) -> str:
    said = one.manifest
    score = "" if said.score is None else f"{said.score:.4f}"
    shape = f"{said.cluster['shards']} + {said.cluster['replicas']} x {said.cluster['partitions']}"
    marks = ", best" if best else ""
    examples = said.state.examples
    return (
        f"{said.number:>6}  {said.time[:19]:19}  {_algorithm(said):11}  {examples:>12,}  "
        f"{one.bytes / 1e6:>8.1f}  {score:>8}  {shape}, whole{marks}"
    )


def _algorithm(said: Manifest) -> str:
    """Return `train.algorithm`: the state of rounds is that of Downpour."""
    try:
        return str(tomllib.loads(said.configuration)["train"]["algorithm"])
    except (tomllib.TOMLDecodeError, KeyError, TypeError):
        return said.algorithm


def show(run_dir: Path, number: int) -> int:
    """Print what one checkpoint holds; return the status."""
    from dbmpi.checkpoint.contents import verify

    _check_number(run_dir, number)
    try:
        one = manifest.read(checkpoint_directory(run_dir, number))
        vectors = sorted(verify(one).sources)
    except Damaged as problem:
        print(f"damaged: {problem}")
        return STATUS_FAILURE
    print("\n".join(_description(one, vectors)))
    return STATUS_OK


def _check_number(run_dir: Path, number: int) -> None:
    """Raise UserError unless a run has a checkpoint of this number, whole or not."""
    there = checkpoint_numbers(run_dir)
    if not there:
        raise _none(run_dir)
    if number not in there:
        have = listed([str(one) for one in reversed(there)])
        raise UserError(f"{run_dir}/{CHECKPOINTS} has no checkpoint {number}; give {have}")


def _none(run_dir: Path) -> UserError:
    """Make the error for a directory without checkpoints, with the run that may have been meant."""
    above = [one for one in run_dir.absolute().parents if checkpoint_numbers(one)]
    if above:
        return UserError(f"{run_dir} is in the directory of a run: give that, {above[0]}")
    runs = _runs(run_dir)
    if runs:
        return UserError(f"{run_dir} has no checkpoints itself, but runs that have: give {_some(runs)}")
    others = _runs(run_dir.parent)
    if run_dir.is_dir() or not others:
        return UserError(f"{run_dir}/{CHECKPOINTS} has no checkpoints: give the directory of a run that has")
    meant = nearest(run_dir.name, [one.name for one in others])
    return UserError(f"{run_dir} is not there{meant}; runs with checkpoints there: {_some(others)}")


def _runs(path: Path) -> list[Path]:
    """Return the directories in one that have checkpoints, the last by name first."""
    try:
        names = sorted(os.listdir(path), reverse=True)
    except OSError:
        return []
    return [path / name for name in names if checkpoint_numbers(path / name)]


def _some(runs: Sequence[Path]) -> str:
    """Write the first of some runs."""
    more = [f"one of {len(runs) - MOST} more"] if len(runs) > MOST else []
    return listed([*map(str, runs[:MOST]), *more])


def _description(one: Checkpoint, vectors: Iterable[str]) -> Iterator[str]:
    """Yield the lines about a whole checkpoint, and its vectors."""
    said, log = one.manifest, one.manifest.state.log
    yield f"{one.path}: checkpoint {said.number} of {said.time}, {_algorithm(said)}"
    yield f"{said.state.examples:,} examples, {log.step:,} minibatches, {log.iterations:,} iterations"
    yield f"{log.elapsed_s:.1f} s of training; score {said.score}"
    for vector in vectors:
        yield f"{vector}:"
        for name, shape in said.model["tensors"].items():
            yield f"  {name}  {tuple(shape)}  {said.model['dtype']}"
    yield ""
    yield said.configuration
