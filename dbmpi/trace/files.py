"""The files of a trace, as ranks leave them (`dbmpi.spans`): found, checked, and read on one time axis."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbmpi.arrays import Record
from dbmpi.errors import UserError
from dbmpi.logs.run import open_run
from dbmpi.output.run_directory import TRACE
from dbmpi.spans import BYTES, LAYOUT, MAGIC

RECORDS = np.dtype(list(LAYOUT))
LONGEST_HEADER = 1 << 20
HOW = "record one with --set output.trace=true, or in the configuration: [output] trace = true"
WHEN = "its ranks write it when they leave, and those that are killed do not"


@dataclass(frozen=True)
class RankFile:
    """What one rank has left.

    Parameters
    ----------
    path
        The file.
    header
        What it says of itself (`run.roles.tracing`).
    begin
        Where its records begin, in bytes.
    """

    path: Path
    header: Mapping[str, Any]
    begin: int

    @property
    def rank(self) -> int:
        """The rank, in the world."""
        return int(self.header["rank"])

    @property
    def name(self) -> str:
        """How messages call the rank."""
        return f"rank {self.rank} ({self.header['role']})"

    @property
    def kept(self) -> int:
        """How many records there are."""
        return int(self.header["kept"])

    @property
    def dropped(self) -> int:
        """How many older records were dropped, as the memory was full."""
        return int(self.header["dropped"])

    @property
    def error_s(self) -> float:
        """How wrong times of this rank may be beside those of rank 0."""
        return max((float(error) for _, error, _ in self.header["offsets"]), default=0.0)

    def names(self, what: str) -> dict[int, str]:
        """Return what numbers stand for: of kinds, causes, works, ops or commands."""
        return {int(number): str(name) for number, name in self.header[what].items()}

    def read(self) -> Record:
        """Return the records, `(n,)` of `RECORDS`, with times by the clock of rank 0.

        Raises
        ------
        UserError
            They cannot be read.
        """
        try:
            with self.path.open("rb") as file:
                file.seek(self.begin)
                records = np.fromfile(file, RECORDS, self.kept)
        except OSError as error:
            raise UserError(f"{self.path}: {error.strerror}") from None
        for name in ("start", "stop"):
            records[name] += self._offset(records[name])
        return records

    def _offset(self, at_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what times of this rank lack, `(n,)`; it changes evenly between comparisons."""
        offsets = np.array(self.header["offsets"], np.float64).reshape(-1, 3)
        if not len(offsets):
            return np.zeros(len(at_s))
        return np.interp(at_s, offsets[:, 2], offsets[:, 0])


@dataclass(frozen=True)
class Job:
    """The trace of one job of a run.

    Parameters
    ----------
    number
        Its generation, as in run.json.
    files
        Those of its ranks, by rank.
    problems
        What is missing or damaged: a sentence each.
    """

    number: int
    files: list[RankFile]
    problems: list[str]


def jobs(run: Path) -> list[int]:
    """Return the jobs of a run that have left a trace, the oldest first."""
    places = (run / TRACE).glob("*/") if (run / TRACE).is_dir() else ()
    return sorted(int(place.name) for place in places if place.name.isdecimal() and any(place.glob("*.bin")))


def open_job(run: Path, number: int | None) -> Job:
    """Return the trace of a job of a run; None: of the last that has one.

    Raises
    ------
    UserError
        There is none, or it cannot be looked into.
    """
    try:
        there = jobs(run)
        if not there:
            raise _none(run)
        if number is not None and number not in there:
            named = ", ".join(map(str, there))
            raise UserError(f"{run}: job {number} has no trace; there is one of job {named} (--job)")
        chosen = there[-1] if number is None else number
        place = next(
            one for one in (run / TRACE).glob("*/") if one.name.isdecimal() and int(one.name) == chosen
        )
        return _job(chosen, sorted(place.glob("*.bin")))
    except OSError as error:
        raise UserError(f"{error.filename or run}: {error.strerror}") from None


def _none(run: Path) -> UserError:
    """Return the message of a run without a trace. Raises UserError where there is no run."""
    config = open_run(run).config
    if config is not None and config.output.trace:
        return UserError(f"{run} has no trace yet: {WHEN}")
    return UserError(f"{run} has no trace: {HOW}")


def _job(number: int, paths: list[Path]) -> Job:
    files, problems = list[RankFile](), list[str]()
    for path in paths:
        try:
            files.append(_open(path))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            problems.append(f"{path} is no trace as a rank writes it ({error}): it is left out")
    if not files:
        raise UserError(problems[0])
    files.sort(key=lambda file: file.rank)
    missing = sorted(set(range(int(files[0].header["ranks"]))) - {file.rank for file in files})
    if missing:
        ranks = ", ".join(map(str, missing))
        problems.append(f"nothing is there of rank {ranks}: a rank that is killed leaves no trace")
    return Job(number, files, problems)


def _open(path: Path) -> RankFile:
    """Read what a file says of itself. Raises ValueError, KeyError, TypeError, AttributeError, OSError."""
    with path.open("rb") as file:
        if file.readline(len(MAGIC)) != MAGIC:
            raise ValueError("another format")
        header = json.loads(file.readline(LONGEST_HEADER))
        found = RankFile(path, header, file.tell())
    for what in ("kinds", "causes", "works", "ops", "commands"):
        found.names(what)
    _ = found.rank, found.name, found.error_s, header["role_kind"], int(header["node"]), header["host"]
    if path.stat().st_size != found.begin + (found.kept * BYTES) or found.dropped < 0:
        raise ValueError("it is cut short")
    return found
