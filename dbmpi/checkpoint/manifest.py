"""Checkpoints as they lie in a run directory: their names, their manifests, and which of them are whole.

    RUN/checkpoints/000042/        one checkpoint; under construction it is 000042.part, in its owner's room
        shard-0000.h5 ...          a file of each shard
        index.h5                   virtual datasets over these, which read as one model
        manifest.json              written last: what is here, with size and SHA-256 of each file, its own too

A shard's file holds vectors of its slice's length, by name, and how many updates each of its pieces has had:

    parameters      the parameter vector
    rule.NAME       a state of the learning rule (Downpour); rule.average: what evaluations are of
    vector.N        a vector of the batch method, by its number in `operations` (Sandblaster)
    updates

No file of a checkpoint is opened by HDF5 before its checksum was found right: the library is not made for
damaged files.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from io import BufferedReader
from pathlib import Path
from typing import Any

from dbmpi.checkpoint.directory import (
    INDEX,
    MANIFEST,
    FileRecord,
    checkpoint_directory,
    construction_directory,
    is_shard_file,
)
from dbmpi.checkpoint.manifest_schema import misshapen
from dbmpi.checkpoint.run_state import RunState
from dbmpi.checkpoint.whole_file import Damaged, WholeFile, open_regular, readable
from dbmpi.data.factors import Scaling
from dbmpi.files import flush_directory, write_json, writing
from dbmpi.layout.network import Network
from dbmpi.ownership.owned import OwnedDirectory
from dbmpi.typed import Unlike

FORMAT = 1
SEAL = "sha256"


@dataclass(frozen=True)
class Manifest:
    """What a checkpoint says of itself.

    Parameters
    ----------
    number
        They are numbered from 1 on, in the order of the run.
    time
        When it was taken: UTC, ISO 8601.
    algorithm
        "downpour" or "sandblaster", at that moment: a warmstart is downpour.
    model
        `model_of` the run, and its `scaling` if it has one.
    cluster
        Shards that wrote it (one that has died does not), replicas and partitions.
    files
        The other files, by name.
    configuration, versions
        TOML as resolved, and of what programs.
    score
        Of the last evaluation before it: accuracy, or minus the loss; the larger the better. None where
        there was none since the one before.
    state
        The coordinator's: position in the data, counters, schedules, the optimizer's scalars.
    """

    number: int
    time: str
    algorithm: str
    model: dict[str, Any]
    cluster: dict[str, int]
    files: dict[str, FileRecord]
    configuration: str
    versions: dict[str, str]
    score: float | None
    state: RunState

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        files = {name: vars(file) for name, file in self.files.items()}
        return vars(self) | {"files": files, "state": self.state.to_json()}


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk, and what its manifest says."""

    path: Path
    manifest: Manifest

    def open(self, name: str, file: BufferedReader | None = None) -> WholeFile:
        """Open one of its files, or take it open, and compare it with the manifest. Raises Damaged."""
        return WholeFile(self.path / name, self.manifest.files[name], file)

    def hold(self) -> dict[str, BufferedReader]:
        """Open all files, and read nothing: they can be read when the run has removed it. Raises Damaged."""
        held = dict[str, BufferedReader]()
        try:
            for name in self.manifest.files:
                with readable(f"{self.path.name}/{name}"):
                    held[name] = open_regular(self.path / name)
        except BaseException:
            for file in held.values():
                file.close()
            raise
        return held

    @property
    def scaling(self) -> Scaling | None:
        """What the run had found of its data; None if it did not scale them."""
        saved = self.manifest.model.get("scaling")
        return None if saved is None else Scaling.from_json(saved)

    @property
    def bytes(self) -> int:
        """Size of all files but the manifest."""
        return sum(file.bytes for file in self.manifest.files.values())


def model_of(
    network: Network, dtype: str, rows: int, made: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return what a run must have in common with a checkpoint to go on from it.

    `rows` to learn from, and what was `made` of the data file (`Description.made`), if anything.
    """
    shapes = {tensor.name: list(tensor.shape) for tensor in network.tensors}
    return {"dtype": dtype, "rows": rows, "tensors": shapes} | ({"made": dict(made)} if made else {})


def publish(owned: OwnedDirectory, manifest: Manifest) -> None:
    """Write the manifest, and give the checkpoint under construction its name.

    Raises as `OwnedDirectory.replacing`.
    """
    part = construction_directory(owned, manifest.number)
    final = checkpoint_directory(owned.path, manifest.number)
    content = {"format": FORMAT} | manifest.to_json()
    with owned.guarded(), writing(final):
        write_json(part / MANIFEST, content | {SEAL: _seal(content)})
        if final.exists():  # damaged: a whole one of this number would have been gone on from
            owned.remove(final)
        part.rename(final)
        flush_directory(final.parent)


def read(path: Path) -> Checkpoint:
    """Read the manifest of the checkpoint in a directory.

    Raises
    ------
    Damaged
        It is not there, not as it was written, or of a format that this version does not know.
    """
    name = f"{path.name}/{MANIFEST}"
    try:
        with readable(name), open_regular(path / MANIFEST) as file:
            content = json.loads(file.read())
    except (ValueError, RecursionError):
        raise Damaged(f"{name} is not as it was written: no JSON") from None
    if not isinstance(content, dict) or content.pop(SEAL, None) != _seal(content):
        raise Damaged(f"{name} is not as it was written: its checksum differs")
    version = content.pop("format", None)
    if type(version) is not int or version != FORMAT:
        raise Damaged(f"{name} has a format that this version of dbmpi does not know; use the newer version")
    found = Checkpoint(path, _manifest(content, name))
    if found.manifest.number != int(path.name):
        raise Damaged(f"{name} is that of checkpoint {found.manifest.number}")
    return found


def _manifest(content: dict[str, Any], name: str) -> Manifest:
    odd = misshapen(content, INDEX, is_shard_file)
    if odd:
        raise Damaged(f"{name} does not hold what this version of dbmpi wrote: {odd}")
    more = content.keys() - {field.name for field in fields(Manifest)}
    if more:
        expected = ", ".join(field.name for field in fields(Manifest))
        raise Damaged(f"{name} holds more than {expected}")
    files = {file: FileRecord(**record) for file, record in content.pop("files").items()}
    try:
        state = RunState.from_json(content.pop("state"))
        if "scaling" in content["model"]:
            Scaling.from_json(content["model"]["scaling"])
    except Unlike as problem:
        raise Damaged(f"{name} does not hold what this version of dbmpi wrote: {problem}") from None
    if state.algorithm != content["algorithm"]:
        raise Damaged(f"{name} does not hold the state of {content['algorithm']}")
    return Manifest(files=files, state=state, **content)


def _seal(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
