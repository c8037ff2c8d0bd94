"""The command line of the bench: what it may say, and what is refused before anything is measured."""

import argparse
import ast
import json
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from scripts import processes
from scripts.bench import machine, record

HERE = Path(__file__).resolve().parent
AS_LOOK = "--as-look"
LOOK_S = 120
# In this order: what is asked most comes first.
PARTS = ("accuracy", "replicas", "sync", "rules", "defaults", "sets", "rates", "step", "threads",
         "partitions", "transport", "boundary", "data", "prepare", "predict", "start", "memory", "records",
         "downpour", "sandblaster", "checkpoints", "lbfgs", "speech", "kernels", "spatial")  # fmt: skip
OF_DATA = ("accuracy", "replicas", "defaults", "sets", "rates", "sandblaster")  # parts that use --data
STATUS_USAGE = 2
ROUNDS = 3  # of a part that does not say


class Parser(argparse.ArgumentParser):
    """A parser that says a mistake in one line."""

    def error(self, message: str) -> NoReturn:
        """End with status 2."""
        self.exit(STATUS_USAGE, f"{self.prog}: {message} (--help tells the options)\n")


def parse(words: Sequence[str], about: str) -> argparse.Namespace:
    """Return what the command line says, `parts` filled in; a mistake ends the program with status 2."""
    listing = "\n".join(f"  {name:12} {what(name)}" for name in PARTS)
    form = argparse.RawDescriptionHelpFormatter
    parser = Parser(prog="scripts/bench", description=f"{about}parts:\n{listing}", formatter_class=form)
    add = parser.add_argument
    add("parts", nargs="*", metavar="PART", help="parts to measure (default: all)")
    add("--out", type=Path, default=Path("bench.json"), help="the JSON file (bench.json)")
    add("--rounds", type=_number(int, 1), help=f"rounds of each part (default {ROUNDS}, of kernels more)")
    add("--seconds", type=_number(float, above=0), default=100.0,
        help="begin no round of a part that would end later (100)")  # fmt: skip
    add("--load", type=_number(int, 0), default=0, help="busy processes beside (default 0)")
    add("--data", type=Path, help="HDF5 file of 28 x 28 images and 10 classes, as MNIST: of "
        f"{', '.join(OF_DATA)}; the other parts make their own examples")  # fmt: skip
    add("--recordings", type=Path, help="folder of the free spoken digit data set's WAV files: of speech")
    add("--target", type=_number(float, above=0, most=1), default=0.975,
        help="of accuracy and rates: to be reached (0.975)")  # fmt: skip
    add("--examples", type=_number(int, 100), default=180_000,
        help="of accuracy and rates: learned from at most (180000)")  # fmt: skip
    add("--seed", type=_number(int, 0), default=1,
        help="of the first round, where accuracies are compared; others have the next ones (1)")  # fmt: skip
    add("--only", default="", help="groups of rows whose name contains this, in whatever case")
    given = parser.parse_args(words)
    unknown = [name for name in given.parts if name not in PARTS]
    if unknown:
        parser.error(f"there is no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    given.parts = given.parts or list(PARTS)
    try:
        record.check(given.out)
    except OSError as error:
        parser.error(f"--out {given.out} cannot be written: {error.strerror or error}")
    if given.data is not None and not given.data.is_file():
        parser.error(f"--data {given.data}: there is no such file")
    if given.recordings is not None and not given.recordings.is_dir():
        parser.error(f"--recordings {given.recordings}: there is no such folder")
    _look_ahead(parser, given)
    return given


def what(part: str) -> str:
    """Return the first line of a part's docstring; it is not imported."""
    text = (HERE / "parts" / f"{part}.py").read_text()
    return (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]


def _number(
    kind: Callable[[str], float], least: float = -math.inf, above: float = -math.inf, most: float = math.inf
) -> Callable[[str], float]:
    """Return a type of an option: a finite number within limits."""

    def number(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if math.isfinite(value) and value >= least and value > above and value <= most:
            return value
        limits = [("at least", least), ("above", above), ("at most", most)]
        said = " and ".join(f"{word} {limit:g}" for word, limit in limits if math.isfinite(limit))
        raise argparse.ArgumentTypeError(
            f"{text}: it must be {'a whole' if kind is int else 'a'} number {said}"
        )

    return number


def _look_ahead(parser: Parser, given: argparse.Namespace) -> None:
    """Refuse data of another shape, and an --only that finds nothing; drop the parts in which it does."""
    users = [name for name in given.parts if name in OF_DATA]
    asked: dict[str, Any] = {"parts": given.parts if given.only else [], "only": given.only}
    asked["data"] = str(given.data.resolve()) if given.data and users else None
    if not (asked["parts"] or asked["data"]):
        return
    command = [sys.executable, str(HERE), AS_LOOK, json.dumps(asked)]
    done = processes.run(command, timeout_s=LOOK_S, env=dict.fromkeys(machine.FORCED))
    if done.status != 0:
        said = [*done.err.strip().splitlines(), "it did not end"] if done.timed_out else done.err.splitlines()
        parser.error(f"the parts cannot be looked at: {said[-1] if said else done.status}")
    seen = json.loads(done.out.splitlines()[-1])
    if seen["data"]:
        needs = f"{' and '.join(users)}: 28 x 28 or 784 inputs, 10 classes"
        parser.error(f"--data {given.data}: {seen['data']}; wanted for {needs}")
    if given.only:
        given.parts = [name for name in given.parts if seen["wanted"][name]]
    if not given.parts:
        there = "; ".join(dict.fromkeys(seen["groups"]))
        parser.error(f"--only {given.only}: there is no such group; there are {there}")
