"""The files of a trace in a run directory: which jobs have left one, and what is missing."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dbmpi.errors import UserError
from dbmpi.logs.run import open_run
from dbmpi.output.run_directory import TRACE
from dbmpi.text import several
from dbmpi.trace.rank_file import WRONG, RankFile, open_file

MOST_NAMED = 64  # ranks in a message
HOW = "record one with --set output.trace=true, or in the configuration: [output] trace = true"
WHEN = "its ranks write it when they leave, and those that are killed do not"


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


def jobs(run: Path) -> dict[int, Path]:
    """Return where the jobs of a run have left a trace, the oldest first."""
    places = (run / TRACE).glob("*/") if (run / TRACE).is_dir() else ()
    found = {int(one.name): one for one in places if one.name.isdecimal() and any(one.glob("*.bin"))}
    return dict(sorted(found.items()))


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
        chosen = max(there) if number is None else number
        return _job(chosen, sorted(there[chosen].glob("*.bin")))
    except OSError as error:
        raise UserError(f"{error.filename or run}: {error.strerror}") from None


def _none(run: Path) -> UserError:
    """Return the message of a run without a trace. Raises UserError where there is no run."""
    config = open_run(run).config
    if config is not None and config.output.trace:
        return UserError(f"{run} has no trace yet: {WHEN}")
    return UserError(f"{run} has no trace: {HOW}")


def _other(file: RankFile, found: Mapping[int, RankFile]) -> str:
    """Return why a file does not belong to others that were found; nothing where it does."""
    ranks = next((one.ranks for one in found.values()), file.ranks)
    if file.ranks != ranks:
        return f"is of a job of {several(file.ranks, 'rank')}, and this one had {ranks}"
    return f"is of rank {file.rank}, as {found[file.rank].path} is" if file.rank in found else ""


def _job(number: int, paths: list[Path]) -> Job:
    found, problems = dict[int, RankFile](), list[str]()
    for path in paths:
        try:
            file = open_file(path)
            if other := _other(file, found):
                problems.append(f"{path} {other}: it is left out")
            else:
                found[file.rank] = file
        except (OSError, *WRONG) as error:
            problems.append(f"{path} is no trace as a rank writes it ({error}): it is left out")
    if not found:
        raise UserError(problems[0] if problems else "its trace has been removed")
    files = [found[rank] for rank in sorted(found)]
    missing = [rank for rank in range(files[0].ranks) if rank not in found]
    if missing:
        more = f" and {len(missing) - MOST_NAMED} more" if len(missing) > MOST_NAMED else ""
        ranks = ", ".join(map(str, missing[:MOST_NAMED])) + more
        problems.append(f"nothing is there of rank {ranks}: a rank that is killed leaves no trace")
    return Job(number, files, problems)
