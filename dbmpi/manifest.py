"""Checkpoints as they lie in a run directory: their names, their manifests, and which of them are whole.

    RUN/checkpoints/000042/        one checkpoint; under construction it is called .000042.part
        shard-0000.h5 ...          a file of each shard
        index.h5                   virtual datasets over these, which read as one model
        manifest.json              written last: what is here, with size and SHA-256 of each file, its own too

A shard's file holds vectors of its slice's length, by name, and how many updates each of its pieces has had:

    parameters      the parameter vector
    rule.NAME       a state of the learning rule (Downpour)
    vector.N        a vector of the batch method, by its number in `operations` (Sandblaster)
    updates

No file of a checkpoint is opened by HDF5 before its checksum was found right: the library is not made for
damaged files.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from dbmpi import rundir
from dbmpi.manifesttypes import misshapen
from dbmpi.network import Network

FORMAT = 1
CHECKPOINTS, MANIFEST, INDEX = "checkpoints", "manifest.json", "index.h5"
SEAL = "sha256"
PARAMETERS, UPDATES = "parameters", "updates"
_NUMBERED = "vector."


class Damaged(Exception):
    """A checkpoint that cannot be used; the text says why, beginning with the file."""


@dataclass(frozen=True)
class FileRecord:
    """A file of a checkpoint: its size, and the SHA-256 of its content, in hexadecimal."""

    bytes: int
    sha256: str

    def fill(self, record: Any) -> None:
        """Put it into a message that has the fields `bytes` and `sha256`."""
        record["bytes"], record["sha256"] = self.bytes, list(bytes.fromhex(self.sha256))

    @classmethod
    def of(cls, record: Any) -> "FileRecord":
        """Return what a message says of a file."""
        return cls(int(record["bytes"]), record["sha256"].tobytes().hex())


@dataclass(frozen=True)
class Written:
    """A shard's file is on disk."""

    number: int
    shard: int
    file: FileRecord


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
        `model_of` the run.
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
    state: dict[str, Any]


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk, and what its manifest says."""

    path: Path
    manifest: Manifest

    @property
    def index(self) -> Path:
        """The file that reads as one model."""
        return self.path / INDEX

    @property
    def bytes(self) -> int:
        """Size of all files but the manifest."""
        return sum(file.bytes for file in self.manifest.files.values())


def rule_vector(name: str) -> str:
    """Return the name of the vector that is a state of the learning rule."""
    return f"rule.{name}"


def numbered_vector(number: int) -> str:
    """Return the name of a vector of the batch method."""
    return f"{_NUMBERED}{number}"


def numbered(vectors: Mapping[str, Any]) -> dict[int, Any]:
    """Return the vectors of the batch method among some, by number."""
    names = (name for name in vectors if name.startswith(_NUMBERED))
    return {int(name.removeprefix(_NUMBERED)): vectors[name] for name in names}


def model_of(network: Network, dtype: str, rows: int) -> dict[str, Any]:
    """Return what a run must have in common with a checkpoint to go on from it; `rows` to learn from."""
    shapes = {tensor.name: list(tensor.shape) for tensor in network.tensors}
    return {"dtype": dtype, "rows": rows, "tensors": shapes}


def directory(run_dir: Path, number: int) -> Path:
    """Return where checkpoint `number` of a run lies."""
    return run_dir / CHECKPOINTS / f"{number:06d}"


def construction(run_dir: Path, number: int) -> Path:
    """Return where checkpoint `number` is written, before it gets its name."""
    return run_dir / CHECKPOINTS / f".{number:06d}.part"


def shard_file(index: int) -> str:
    """Return the name of the file of a shard."""
    return f"shard-{index:04d}.h5"


def record_of(path: Path) -> FileRecord:
    """Flush a file to disk, and return its size and checksum."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        return FileRecord(os.fstat(file.fileno()).st_size, hashlib.file_digest(file, "sha256").hexdigest())


def publish(run_dir: Path, manifest: Manifest) -> None:
    """Write the manifest, and give the checkpoint under construction its name. Raises as `rundir.writing`."""
    part, final = construction(run_dir, manifest.number), directory(run_dir, manifest.number)
    content = {"format": FORMAT} | asdict(manifest)
    rundir.write_json(part / MANIFEST, content | {SEAL: _seal(content)})
    with rundir.writing(final):
        if final.exists():  # damaged: a whole one of this number would have been gone on from
            shutil.rmtree(final)
        part.rename(final)
        rundir.flush_directory(final.parent)


def numbers(run_dir: Path) -> list[int]:
    """Return the numbers of the checkpoints of a run, whole or not, the newest first."""
    try:
        names = os.listdir(run_dir / CHECKPOINTS)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted((int(name) for name in names if name.isascii() and name.isdigit()), reverse=True)


def last_begun(run_dir: Path) -> int:
    """Return the number of the last checkpoint of a run that was begun, whole or not; 0 for none."""
    parts = (path.name[1:-5] for path in (run_dir / CHECKPOINTS).glob(".*.part"))
    return max([*numbers(run_dir), *(int(name) for name in parts if name.isdigit())], default=0)


def clear(run_dir: Path) -> None:
    """Remove what a run that was ended left under construction."""
    for left in (run_dir / CHECKPOINTS).glob(".*.part"):
        shutil.rmtree(left, ignore_errors=True)


def prune(run_dir: Path, keep: int, best: int | None) -> None:
    """Remove all checkpoints but the newest `keep` and the best."""
    for number in numbers(run_dir)[keep:]:
        if number != best:
            shutil.rmtree(directory(run_dir, number), ignore_errors=True)


def read(path: Path) -> Checkpoint:
    """Read the manifest of the checkpoint in a directory.

    Raises
    ------
    Damaged
        It is not there, not as it was written, or of a format that this version does not know.
    """
    name = f"{path.name}/{MANIFEST}"
    try:
        content = json.loads((path / MANIFEST).read_bytes())
    except OSError as error:
        raise Damaged(f"{name}: {error.strerror}") from None
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
    odd = misshapen(content, INDEX, _is_shard_file)
    if odd:
        raise Damaged(f"{name} does not hold what this version of dbmpi wrote: {odd}")
    files = {file: FileRecord(**record) for file, record in content.pop("files").items()}
    try:
        return Manifest(files=files, **content)
    except TypeError:
        expected = ", ".join(field.name for field in fields(Manifest))
        raise Damaged(f"{name} holds more than {expected}") from None


def verify(checkpoint: Checkpoint) -> None:
    """Compare every file with what the manifest says of it.

    Raises
    ------
    Damaged
        One is missing, too short, or differs.
    """
    for name, said in checkpoint.manifest.files.items():
        path = checkpoint.path / name
        try:
            size = path.stat().st_size
            if size != said.bytes:
                raise Damaged(f"{path.parent.name}/{name} has {size:,} bytes, not {said.bytes:,} as written")
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise Damaged(f"{path.parent.name}/{name}: {error.strerror}") from None
        if found != said.sha256:
            raise Damaged(f"{path.parent.name}/{name} is not as it was written: its checksum differs")


def whole(run_dir: Path) -> Iterator[Checkpoint | Damaged]:
    """Yield the checkpoints of a run, verified, the newest first; in place of one that is damaged, why."""
    for number in numbers(run_dir):
        try:
            found = read(directory(run_dir, number))
            verify(found)
        except Damaged as problem:
            yield problem
        else:
            yield found


def best_of(run_dir: Path) -> int | None:
    """Return the number of the checkpoint with the best score, the newest of those; None without any."""
    scored = []
    for number in numbers(run_dir):
        try:
            score = read(directory(run_dir, number)).manifest.score
        except Damaged:
            continue
        if score is not None:
            scored.append((score, number))
    return max(scored)[1] if scored else None


def _is_shard_file(name: str) -> bool:
    return re.fullmatch(r"shard-\d{4,}\.h5", name, re.ASCII) is not None


def _seal(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
