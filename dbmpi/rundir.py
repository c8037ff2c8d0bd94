"""The run directory: what a run leaves behind, and how files get there whole."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from dbmpi import __version__
from dbmpi.config import Config, to_toml
from dbmpi.errors import UserError
from dbmpi.topology import Topology

CONFIG, RUN, METRICS, MODEL, SUMMARY = "config.toml", "run.json", "metrics.jsonl", "model.h5", "summary.json"


def create(path: Path) -> Path:
    """Make the run directory, which must be new or empty.

    Raises
    ------
    UserError
        If it cannot be made or written to, or holds a run already.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        taken = [name for name in (RUN, METRICS, SUMMARY, MODEL, CONFIG) if (path / name).exists()]
        probe = path / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(
            f"run directory {path}: {error.strerror}: give another with --run-dir, or make it writable"
        ) from None
    if taken:
        raise UserError(f"run directory {path} holds a run already ({taken[0]}): give another with --run-dir")
    return path


def write_text(path: Path, text: str) -> None:
    """Write a file under a temporary name, flush it to disk, and rename it."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("w") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    temporary.replace(path)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a mapping as JSON, whole or not at all."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def describe_run(
    path: Path, config: Config, topology: Topology, hosts: Sequence[str], mpi: str, threads: Sequence[int]
) -> None:
    """Write the resolved configuration, and run.json: ranks, roles, hosts, versions, seed."""
    write_text(path / CONFIG, to_toml(config))
    ranks = [
        {"rank": rank, "role": str(role), "host": hosts[rank], "threads": threads[rank]}
        for rank, role in enumerate(topology.roles)
    ]
    content = {
        "equation": topology.equation(),
        "seed": config.train.seed,
        "mpi": mpi,
        "versions": versions(),
        "ranks": ranks,
    }
    write_json(path / RUN, content)


def versions() -> dict[str, str]:
    """Return the versions of this program and of what it runs on."""
    found = {"dbmpi": __version__, "python": platform.python_version()}
    for name in ("numpy", "numba", "mpi4py", "h5py"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found
