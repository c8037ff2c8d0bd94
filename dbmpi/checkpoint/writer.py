"""What all checkpoints of a job have in common, and the last step of taking one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from dbmpi.checkpoint import manifest
from dbmpi.checkpoint.directory import INDEX, FileRecord, construction_directory, prune
from dbmpi.checkpoint.manifest import Manifest, model_of
from dbmpi.config.sections import Config
from dbmpi.config.toml import to_toml
from dbmpi.files import versions
from dbmpi.layout.partitioning import Partitioning
from dbmpi.layout.sharding import Piece


@dataclass(frozen=True)
class CheckpointWriter:
    """A job, as its checkpoints show it.

    Parameters
    ----------
    run_dir
        The run directory.
    config, plan, pieces
        The resolved configuration, the partitions, and all pieces, each of the shard that serves it at first.
    rows
        Examples to learn from.
    cluster
        Shards, replicas, partitions.
    """

    run_dir: Path
    config: Config
    partitioning: Partitioning
    pieces: tuple[Piece, ...]
    rows: int
    cluster: dict[str, int]

    def manifest(
        self, number: int, algorithm: str, state: dict[str, Any], score: float | None, shards: int
    ) -> Manifest:
        """Return the manifest of a checkpoint that so many shards write; it has no files yet."""
        return Manifest(
            number=number,
            time=datetime.now(UTC).isoformat(timespec="seconds"),
            algorithm=algorithm,
            model=model_of(self.partitioning.network, self.config.model.dtype, self.rows),
            cluster=self.cluster | {"shards": shards},
            files={},
            configuration=to_toml(self.config),
            versions=versions(),
            score=score,
            state=state,
        )

    def complete(
        self, content: Manifest, files: Mapping[str, FileRecord], pieces: Sequence[Piece]
    ) -> Manifest:
        """Write index and manifest beside the shards' files, name the checkpoint, remove what is not kept.

        Parameters
        ----------
        content
            The manifest without files.
        files
            The shards' files.
        pieces
            All pieces, each of the shard that has written it.

        Returns
        -------
        Manifest
            As written. Raises as `writing`.
        """
        from dbmpi.checkpoint.index import write_index  # HDF5: only here, so that ranks start faster

        part = construction_directory(self.run_dir, content.number)
        index = write_index(part, self.partitioning, pieces, np.dtype(self.config.model.dtype))
        content = replace(content, files=dict(files) | {INDEX: index})
        manifest.publish(self.run_dir, content)
        keep = self.config.checkpoint
        prune(self.run_dir, keep.keep, manifest.best_of(self.run_dir) if keep.best else None)
        return content
