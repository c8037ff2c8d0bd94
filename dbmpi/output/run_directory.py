"""The run directory: what a run leaves behind, and how files get there whole."""

from collections.abc import Sequence
from pathlib import Path

from dbmpi.config.sections import Config
from dbmpi.config.toml import to_toml
from dbmpi.errors import UserError
from dbmpi.files import versions, write_json, write_text, writing
from dbmpi.layout.topology import Topology

CONFIG, RUN, METRICS, MODEL, SUMMARY = "config.toml", "run.json", "metrics.jsonl", "model.h5", "summary.json"
PROBE = ".probe"  # one name: what could not be removed is removed by the next run
FINISHED = "finished"  # there when the run has come to its end, not when a job of it was stopped


def create(path: Path) -> Path:
    """Make the run directory, if it is not there.

    Raises
    ------
    UserError
        If it cannot be made or written to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / PROBE
        probe.touch()
        probe.unlink(missing_ok=True)  # another run looks there at the same moment
    except OSError as error:
        raise UserError(
            f"run directory {path}: {error.strerror}: give another with --run-dir, or make it writable"
        ) from None
    return path


def describe_run(
    path: Path,
    config: Config,
    topology: Topology,
    hosts: Sequence[str],
    mpi: str,
    threads: Sequence[int],
    resumed_from: int | None = None,
) -> None:
    """Write the resolved configuration, and run.json: ranks, roles, hosts, versions, seed.

    Raises as `writing`.
    """
    with writing(path / FINISHED):
        (path / FINISHED).unlink(missing_ok=True)
    write_text(path / CONFIG, to_toml(config))
    ranks = [
        {"rank": rank, "role": str(role), "host": hosts[rank], "threads": threads[rank]}
        for rank, role in enumerate(topology.roles)
    ]
    content = {
        "equation": topology.equation(),
        "seed": config.train.seed,
        "resumed_from": resumed_from,
        "mpi": mpi,
        "versions": versions(),
        "ranks": ranks,
    }
    write_json(path / RUN, content)
