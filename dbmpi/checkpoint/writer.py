"""What all checkpoints of a job have in common, and the last step of taking one."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from dbmpi.checkpoint import manifest
from dbmpi.checkpoint.directory import (
    INDEX,
    FileRecord,
    checkpoint_directory,
    construction_directory,
)
from dbmpi.checkpoint.manifest import Manifest, model_of
from dbmpi.checkpoint.pruning import best_of, prune
from dbmpi.checkpoint.run_state import RunState
from dbmpi.config.sections import Config
from dbmpi.config.toml import to_toml
from dbmpi.data.factors import Scaling
from dbmpi.errors import UserError
from dbmpi.files import versions
from dbmpi.layout.partitioning import Partitioning
from dbmpi.layout.placement import tensor_boxes
from dbmpi.layout.sharding import Piece
from dbmpi.ownership.owned import OwnedDirectory

RULE_VECTORS = 3  # of a rule's state, at most, and an average
SETTLE_S = 60.0  # of `checkpoint.timeout_s` = "auto", whatever the size
SLOWEST_BYTES_PER_S = 10e6  # and this speed


class CheckpointWriter:
    """A job, as its checkpoints show it: what never changes is computed here, once.

    Parameters
    ----------
    owned
        The run directory.
    config, partitioning, pieces
        The resolved configuration, the partitions, and all pieces, each of the shard that serves it at first.
    rows
        Examples to learn from.
    cluster
        Shards, replicas, partitions.
    made
        As `model_of`.
    scaling
        What the run found of its data, for those that go on.
    """

    def __init__(
        self,
        owned: OwnedDirectory,
        config: Config,
        partitioning: Partitioning,
        pieces: tuple[Piece, ...],
        rows: int,
        cluster: Mapping[str, int],
        made: Mapping[str, str] | None = None,
        scaling: Scaling | None = None,
    ) -> None:
        self.owned, self.settings, self.pieces, self.cluster = owned, config.checkpoint, pieces, cluster
        self._configuration, self._versions = to_toml(config), versions()
        self._dtype = np.dtype(config.model.dtype)
        self._model = model_of(partitioning.network, config.model.dtype, rows, made)
        if scaling is not None:
            self._model |= {"scaling": scaling.to_json()}
        self._boxes = [tuple(tensor_boxes(partitioning, piece)) for piece in pieces]
        self._best = best_of(owned.path)

    @property
    def run_dir(self) -> Path:
        """The run directory, to read in."""
        return self.owned.path

    @property
    def best(self) -> int:
        """The number of the checkpoint with the best score; 0 where none has one."""
        return 0 if self._best is None else self._best[1]

    def timeout_s(self, vectors: int) -> float:
        """Return after how long a checkpoint is late; `vectors` of a batch method are saved with it."""
        if self.settings.timeout_s != "auto":
            return self.settings.timeout_s
        size = sum(piece.size for piece in self.pieces) * self._dtype.itemsize
        return SETTLE_S + (1 + max(vectors, RULE_VECTORS)) * size / SLOWEST_BYTES_PER_S

    def manifest(self, number: int, state: RunState, score: float | None, shards: int) -> Manifest:
        """Return the manifest of a checkpoint that so many shards write; it has no files yet."""
        return Manifest(
            number=number,
            time=datetime.now(UTC).isoformat(timespec="seconds"),
            algorithm=state.algorithm,
            model=self._model,
            cluster={**self.cluster, "shards": shards},
            files={},
            configuration=self._configuration,
            versions=self._versions,
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
            As written. Raises as `OwnedDirectory.replacing`.
        """
        from dbmpi.checkpoint.index import write_index  # HDF5: only here, so that ranks start faster

        part = construction_directory(self.owned, content.number)
        tensors = self._model["tensors"]
        with self.owned.guarded():
            index = write_index(part, tensors, list(zip(pieces, self._boxes, strict=True)), self._dtype)
        content = replace(content, files={**files, INDEX: index})
        manifest.publish(self.owned, content)
        with suppress(OSError, UserError):  # it is on disk; what should go can go after the next one
            self._remember_score(content)
            best = self._best[1] if self.settings.best and self._best is not None else None
            prune(self.owned, self.settings.keep, best)
        return content

    def _remember_score(self, content: Manifest) -> None:
        """Make a checkpoint the best one if it is; of equal scores the newest counts."""
        if self._best is not None and not checkpoint_directory(self.run_dir, self._best[1]).is_dir():
            self._best = best_of(self.run_dir)  # somebody has removed it
        if content.score is not None and (self._best is None or content.score >= self._best[0]):
            self._best = content.score, content.number
