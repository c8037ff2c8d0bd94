"""A run as its directory tells of it."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from dbmpi.config.load import loads
from dbmpi.config.sections import Config
from dbmpi.errors import UserError
from dbmpi.logs.records import Job, RecordFile, Records, parse, whole
from dbmpi.logs.regular import regular
from dbmpi.output import run_directory
from dbmpi.output.lines import LONGEST_LINE
from dbmpi.ownership.record import OWNER

NO_RECORDS = Records()
MOST_BYTES = 64 << 20  # of a file that is read whole: a million ranks take less


@dataclass(frozen=True)
class RunLog:
    """What a run has left. Whatever could not be read is empty, and `problems` says why.

    Parameters
    ----------
    path
        The run directory.
    config
        The configuration, all keys; None where it cannot be read.
    described
        run.json.
    summary
        summary.json; while a job goes on, that of the one before.
    log
        The records, by kind.
    finished
        Whether the run has come to its end.
    problems
        What cannot be read, and why: a sentence each.
    """

    path: Path
    config: Config | None
    described: Mapping[str, Any]
    summary: Mapping[str, Any]
    log: RecordFile
    finished: bool
    problems: list[str]

    def records(self, kind: str) -> Records:
        """Return all records of a kind."""
        return self.log.kinds.get(kind, NO_RECORDS)

    @property
    def jobs(self) -> list[Job]:
        """The jobs of the run that have left records."""
        return self.log.jobs

    @property
    def result(self) -> Mapping[str, Any]:
        """summary.json where it is of the last job, which has ended in order; else nothing."""
        last = self.jobs[-1] if self.jobs else None
        return self.summary if last is None or last.ended or not last.began else {}

    @property
    def name(self) -> str:
        """What the run is called."""
        return self.path.resolve().name

    @property
    def schema(self) -> int:
        """The version of the records of the last job."""
        return whole(self.jobs[-1].began.get("schema"), 1) if self.jobs else 1


def open_run(path: Path, last_bytes: int | None = None) -> RunLog:
    """Read what a run has left; nothing is written, and nobody is waited for.

    It may go on, have failed, be of an older version or lack files.

    Parameters
    ----------
    last_bytes
        Of the records read only the last ones, in so many bytes; None for all.

    Raises
    ------
    UserError
        It is no run directory, or cannot be looked into.
    """
    _check(path)
    problems = list[str]()
    config = _config(path, problems)
    described, summary = (
        _object(path / name, problems) for name in (run_directory.RUN, run_directory.SUMMARY)
    )
    finished = os.path.lexists(path / run_directory.FINISHED)
    records = _records(path, problems, last_bytes)
    return RunLog(path, config, described, summary, records, finished, problems)


def _check(path: Path) -> None:
    """Raise UserError where a directory is none, or none of a run."""
    try:
        there = set(os.listdir(path))
    except OSError as error:
        raise UserError(
            f"{path}: {error.strerror}; name the directory of a run (--run-dir, or one in runs/)"
        ) from None
    except ValueError as error:  # a name that no file can have
        raise UserError(f"{str(path)!r}: {error}; name the directory of a run") from None
    told = run_directory.CONFIG, run_directory.RUN, run_directory.METRICS, run_directory.SUMMARY, OWNER
    if not there.intersection(told):
        raise UserError(
            f"{path} is no run directory: it has neither {run_directory.CONFIG} nor {run_directory.METRICS}; "
            "name the directory of a run (--run-dir, or one in runs/)"
        )


def _config(path: Path, problems: list[str]) -> Config | None:
    content = _content(path / run_directory.CONFIG, problems)
    if content is None:
        return None
    try:
        return loads(content, name=str(path / run_directory.CONFIG))
    except UserError as error:
        problems.append(str(error))
        return None


def _object(path: Path, problems: list[str]) -> dict[str, Any]:
    """Return the object of a file of JSON; an empty one where there is none."""
    content = _content(path, problems)
    if content is None:
        return {}
    with suppress(ValueError, RecursionError):
        found = json.loads(content)
        if isinstance(found, dict):
            return found
    problems.append(f"{path} is no JSON as a run writes it")
    return {}


def _records(path: Path, problems: list[str], last_bytes: int | None) -> RecordFile:
    """Return the records, or the last of them; none where there are none yet, or they cannot be read."""
    metrics = path / run_directory.METRICS
    try:
        with regular(metrics) as file:
            return parse(_lines(file, last_bytes))
    except FileNotFoundError:
        pass
    except OSError as error:
        problems.append(f"{metrics} cannot be read: {error.strerror}")
    return parse(())


def _lines(file: IO[bytes], last_bytes: int | None) -> Iterator[str]:
    """Yield the lines of a file, or the last ones; what is longer than a line may be comes in parts."""
    size = os.fstat(file.fileno()).st_size
    if last_bytes is not None and size > last_bytes:
        file.seek(size - last_bytes)
        file.readline()  # half of one
    for line in iter(partial(file.readline, LONGEST_LINE), b""):
        yield line.decode("utf-8", "replace")


def _content(path: Path, problems: list[str]) -> bytes | None:
    """Return the content of a file; None where there is none yet, or it cannot be read."""
    try:
        with regular(path) as file:
            content = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        problems.append(f"{path} cannot be read: {error.strerror}")
        return None
    if len(content) <= MOST_BYTES:
        return content
    problems.append(f"{path} is longer than a run writes it: it is not read")
    return None
