"""The run directory: what a run leaves behind, and how files get there whole."""

import errno
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

from dbmpi.config.sections import Config
from dbmpi.config.toml import to_toml
from dbmpi.errors import UserError
from dbmpi.files import versions, writing
from dbmpi.layout.topology import Topology
from dbmpi.ownership.owned import OwnedDirectory

CONFIG, RUN, METRICS, MODEL, SUMMARY = "config.toml", "run.json", "metrics.jsonl", "model.h5", "summary.json"
FINISHED = "finished"  # there when the run has come to its end, not when a job of it was stopped
CHECKPOINTS, TRACE, TENSORBOARD = "checkpoints", "trace", "tensorboard"
WRITTEN = CONFIG, RUN, METRICS, MODEL, SUMMARY, FINISHED, CHECKPOINTS


def create(path: Path) -> Path:
    """Make the run directory, if it is not there.

    Raises
    ------
    UserError
        If it cannot be made.
    """
    check_way(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unusable(path, error) from None
    return path


def check_way(path: Path) -> Path:
    """See that nothing is in the way of a run directory; return it, or what there is of the way to it.

    Raises
    ------
    UserError
        A file is.
    """
    try:
        there = next(one for one in (path, *path.parents) if os.path.lexists(one))
        if not there.is_dir():
            raise UserError(
                f"run directory {path}: {there} is there, and no directory; give another with --run-dir"
            )
    except OSError as error:
        raise _unusable(path, error) from None
    return there


def check_writable(path: Path) -> None:
    """See, without writing, that a run directory can be made or written. Raises UserError as `check_way`."""
    there = check_way(path)
    if not os.access(there, os.W_OK | os.X_OK):
        raise UserError(f"run directory {path}: {there} cannot be written to; give another with --run-dir")


def create_new(runs: Path, name: str, now: datetime) -> Path:
    """Make a directory that was not there, `runs/NAME-DATE-TIME`, in one that is absolute; return it.

    Where another run has been given the same name in the same second, a number is added.

    Raises
    ------
    UserError
        If it cannot be made.
    """
    stem = create(runs) / f"{name}-{now:%Y%m%d-%H%M%S}"
    number = 1
    while True:
        path = stem if number == 1 else stem.with_name(f"{stem.name}-{number}")
        try:
            path.mkdir()
            return path
        except FileExistsError:
            number += 1
        except FileNotFoundError:
            create(runs)  # it was removed meanwhile, by a run that had made it and does not begin
        except OSError as error:
            raise _unusable(path, error) from None


def _unusable(path: Path, error: OSError) -> UserError:
    return UserError(
        f"run directory {path}: {error.strerror}: give another with --run-dir, or make it writable"
    )


def check_foreign(path: Path, of_a_run: bool) -> None:
    """Refuse a directory that no run has made, and that has files of the names that a run would write.

    Raises
    ------
    UserError
        It has; or that cannot be seen.
    """
    if of_a_run:
        return
    try:
        there = set(os.listdir(path))
    except OSError as error:
        raise _unusable(path, error) from None
    found = [name for name in WRITTEN if name in there]
    if found:
        raise UserError(
            f"run directory {path}: no run has made it, and a run would write over {', '.join(found)} there; "
            "give another with --run-dir"
        )


def trace_directory(owned: OwnedDirectory) -> Path:
    """Return where the files of this job's trace are: jobs of one run have their own, by generation."""
    return owned.path / TRACE / f"{owned.generation:06d}"


def trace_file(owned: OwnedDirectory, rank: int) -> str:
    """Return the name of a rank's trace in the run directory."""
    return f"{TRACE}/{owned.generation:06d}/rank-{rank:05d}.bin"


def source_of(path: Path) -> str | None:
    """Return from which file the run of a directory was begun, as run.json says; None where it does not."""
    with suppress(OSError, ValueError):
        said = json.loads((path / RUN).read_text())
        return said["source"] if isinstance(said, dict) and isinstance(said.get("source"), str) else None
    return None


def describe_run(
    owned: OwnedDirectory,
    config: Config,
    topology: Topology,
    places: Sequence[Mapping[str, Any]],
    mpi: str,
    threads: Sequence[int],
    resumed_from: int | None = None,
    source: str = "",
    more: Mapping[str, Any] | None = None,
) -> str:
    """Write the resolved configuration, and run.json: ranks, roles, hosts, versions, seed, and more.

    Parameters
    ----------
    places
        What there is to say of where each rank runs, its host at least.
    more
        What else is said, by name.

    Returns
    -------
    str
        Where a configuration is now that no run had written; empty where there was none.
        Raises as `OwnedDirectory.replacing`.
    """
    with writing(owned.path / FINISHED):
        if (owned.path / FINISHED).is_dir():  # which no run has made
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        owned.remove(owned.path / FINISHED)
    kept = _keep_configuration(owned)
    owned.write_text(CONFIG, to_toml(config))
    ranks = [
        {"rank": rank, "role": str(role), **places[rank], "threads": threads[rank]}
        for rank, role in enumerate(topology.roles)
    ]
    content = {
        "source": source,
        "generation": owned.generation,
        "equation": topology.equation(),
        "seed": config.train.seed,
        "resumed_from": resumed_from,
        "mpi": mpi,
        "versions": versions(),
        "ranks": ranks,
        **(more or {}),
    }
    owned.write_json(RUN, content)
    return kept


def _keep_configuration(owned: OwnedDirectory) -> str:
    """Give a config.toml that a user has changed another name; return it, or nothing. Raises as `writing`."""
    path = owned.path / CONFIG
    with writing(path):
        try:
            text = path.read_bytes()
        except FileNotFoundError:
            return ""
    if _is_resolved(text):
        return ""
    free = next(name for i in count(1) if not os.path.lexists(owned.path / (name := f"config-{i}.toml")))
    with owned.replacing(free) as temporary:
        temporary.write_bytes(text)
    return free


def _is_resolved(text: bytes) -> bool:
    """Return whether a configuration is as a run writes it, with no word of a user's."""
    from dbmpi.config.load import loads

    try:
        return to_toml(loads(text, name=CONFIG)).encode() == text
    except UserError:
        return False
