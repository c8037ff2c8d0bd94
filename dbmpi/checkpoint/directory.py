"""Where the checkpoints of a run lie, and under which names."""

import hashlib
import os
import re
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dbmpi.errors import UserError
from dbmpi.output.run_directory import CHECKPOINTS
from dbmpi.ownership.owned import OwnedDirectory
from dbmpi.ownership.record import OWNER, ROOMS
from dbmpi.text import decoded

MANIFEST, INDEX = "manifest.json", "index.h5"


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
    """The file of a shard, of checkpoint `number`, is on disk; or, where `file` is None, why it is not."""

    number: int
    shard: int
    file: FileRecord | None
    problem: str = ""

    def fill(self, record: Any) -> None:
        """Put it into a message that has its fields, and those of the file."""
        record["shard"], record["number"], record["problem"] = self.shard, self.number, self.problem.encode()
        if self.file is not None:
            self.file.fill(record)

    @classmethod
    def of(cls, record: Any) -> "Written":
        """Return what a message says."""
        problem = decoded(record["problem"].item())
        file = None if problem else FileRecord.of(record)
        return cls(int(record["number"]), int(record["shard"]), file, problem)


def checkpoint_directory(run_dir: Path, number: int) -> Path:
    """Return where checkpoint `number` of a run lies."""
    return run_dir / CHECKPOINTS / f"{number:06d}"


def construction_directory(owned: OwnedDirectory, number: int) -> Path:
    """Return where the owner of a run directory writes checkpoint `number`, before it gets its name."""
    return owned.room_for(CHECKPOINTS) / f"{number:06d}.part"


def under_construction(run_dir: Path) -> list[Path]:
    """Return where checkpoints are being written, or were when a run was ended, with or without an owner."""
    forms = f"{OWNER}/*/*.part", f"{CHECKPOINTS}/{ROOMS}/*/*.part", f"{CHECKPOINTS}/.*.part"
    return [path for form in forms for path in run_dir.glob(form)]


def shard_file_name(index: int) -> str:
    """Return the name of the file of a shard."""
    return f"shard-{index:04d}.h5"


def record_of(path: Path) -> FileRecord:
    """Flush a file to disk, and return its size and checksum."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        return FileRecord(os.fstat(file.fileno()).st_size, hashlib.file_digest(file, "sha256").hexdigest())


def checkpoint_numbers(run_dir: Path) -> list[int]:
    """Return the numbers of the checkpoints of a run, whole or not, the newest first.

    Raises
    ------
    UserError
        Their directory is there, and cannot be read: that is not the same as none.
    """
    try:
        names = os.listdir(run_dir / CHECKPOINTS)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise UserError(
            f"{run_dir / CHECKPOINTS}: cannot be read: {error.strerror}; begin again when it can, or give "
            "another place with --run-dir"
        ) from None
    return sorted((int(name) for name in names if name.isascii() and name.isdigit()), reverse=True)


def prepare(owned: OwnedDirectory) -> OwnedDirectory:
    """Make the directory of checkpoints; remove what a run without an owner has left unfinished there.

    Returns
    -------
    OwnedDirectory
        The run directory, with a second room where checkpoints are on another file system.

    Raises
    ------
    UserError
        It cannot be made.
    """
    path = owned.path / CHECKPOINTS
    try:
        path.mkdir(exist_ok=True)
        owned = owned.with_room_in(CHECKPOINTS)
    except FileExistsError:
        raise UserError(
            f"{path} is there, and no directory: a run keeps its checkpoints there; move it away, or give "
            "another run directory with --run-dir"
        ) from None
    except OSError as error:
        raise UserError(
            f"{path}: {error.strerror}: give another run directory with --run-dir, or make it writable"
        ) from None
    with suppress(OSError):
        for left in path.glob(".*.part"):
            shutil.rmtree(left, ignore_errors=True)
    return owned


def is_shard_file(name: str) -> bool:
    """Return whether a file of this name is that of a shard."""
    return re.fullmatch(r"shard-\d{4,}\.h5", name, re.ASCII) is not None
