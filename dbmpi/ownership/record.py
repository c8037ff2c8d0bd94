"""The record of an owner: a file in its room, one block long, so that it is renewed in place.

    RUN/.owner/000003/             the room of generation 3; the highest generation is that of the owner
        owner.json                 who it is, and a count that grows as the lease is renewed
    RUN/checkpoints/.rooms/000003  its other room, where checkpoints lie on another file system

In place, for a disk that is full has room for that; and never by a name that is made again: what an owner
writes that was taken over goes to a file that has no name any more.
"""

import errno
import json
import os
import re
import stat
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from math import isfinite
from pathlib import Path

from dbmpi.errors import UserError
from dbmpi.ownership.identity import Identity
from dbmpi.text import has_control

OWNER, RECORD, ROOMS = ".owner", "owner.json", ".rooms"
BLOCK = 2048  # bytes: of a record, whatever its texts
TRIES = 3  # to read a record: a network file system may have forgotten the file it had open
LONGEST_LEASE_S = 1e6  # of a record that says more nothing is believed; `output.lease_s` is at most that


@dataclass(frozen=True)
class Owner:
    """An owner, as its record tells.

    Parameters
    ----------
    identity
        Its process.
    launch
        A text that no other launch of a program has: all owners of one job have the same.
    token
        A text that no other owner has.
    since
        When it became the owner: UTC, ISO 8601; for readers, nothing is decided by it.
    lease_s
        How long its record may stay as it is while it lives, in seconds.
    renewed
        How often it was renewed.
    ended
        Whether it has given the directory up.
    """

    identity: Identity
    launch: str
    token: str
    since: str
    lease_s: float
    renewed: int = 0
    ended: bool = False

    def to_bytes(self) -> bytes:
        """Return the content of the file."""
        text = json.dumps(asdict(self) | {"identity": asdict(self.identity)}, indent=1)
        return text.encode().ljust(BLOCK - 1) + b"\n"

    @classmethod
    def of(cls, content: bytes) -> "Owner | None":
        """Return what a file says; None where it is no record, or damaged."""
        try:
            said = json.loads(content)
            lease_s = float(said["lease_s"])
            texts = str(said["launch"]), str(said["token"]), str(said["since"])
            if not (isfinite(lease_s) and 0 < lease_s <= LONGEST_LEASE_S) or has_control("".join(texts)):
                return None
            return cls(
                Identity.of(said["identity"]), *texts, lease_s, int(said["renewed"]), said["ended"] is True
            )
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            return None

    def is_over(self) -> bool:
        """Return whether it owns nothing any more: it said so, or its process is seen to be gone."""
        return self.ended or self.identity.is_gone()

    def __str__(self) -> str:
        return f"{self.identity}, since {self.since}"


def room(path: Path, generation: int) -> Path:
    """Return the room of a generation of owners of a run directory."""
    return path / OWNER / f"{generation:06d}"


def second_room(path: Path, generation: int) -> Path:
    """Return the room of a generation in a directory of the run that is on another file system."""
    return path / ROOMS / f"{generation:06d}"


def generations(path: Path) -> list[int]:
    """Return the generations that a run directory shows, the newest first; none where it has had no owner.

    Raises
    ------
    UserError
        That cannot be seen.
    """
    try:
        names = os.listdir(path / OWNER)
    except FileNotFoundError:
        return []
    except NotADirectoryError:
        raise UserError(
            f"{path / OWNER} is no directory: a run keeps there who owns {path}; move it away, or give "
            "another with --run-dir"
        ) from None
    except OSError as error:
        raise UserError(
            f"{path / OWNER} cannot be read: {error.strerror}; begin when it can, or give another --run-dir"
        ) from None
    return sorted((int(name) for name in names if re.fullmatch(r"\d{6,9}", name, re.ASCII)), reverse=True)


def read(path: Path, generation: int) -> bytes:
    """Return the record of a generation as it lies there; nothing where it cannot be read."""
    for _ in range(TRIES):
        try:
            return _read(room(path, generation) / RECORD)
        except FileNotFoundError:
            break
        except OSError:
            continue
    return b""


def _read(path: Path) -> bytes:
    """Return the content of a record. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.read(descriptor, 2 * BLOCK)
    finally:
        with suppress(OSError):  # nothing was written
            os.close(descriptor)


def write_new(path: Path, owner: Owner) -> None:
    """Write a record that was not there. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        _write(descriptor, owner)
    finally:
        os.close(descriptor)


def renew(path: Path, generation: int, owner: Owner) -> Owner:
    """Write a record over the same owner's; return it, renewed.

    The file is opened and closed: so a network file system sends it to others, and tells if it is gone.

    Raises
    ------
    OSError
        That cannot be done, or the record that is there is not this owner's.
    """
    flags = os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(room(path, generation) / RECORD, flags)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "the record is no regular file")
        there = Owner.of(os.read(descriptor, BLOCK))
        if there is not None and there.token != owner.token:
            raise FileExistsError(f"the record of {there}")
        owner = replace(owner, renewed=owner.renewed + 1)
        _write(descriptor, owner)
    finally:
        os.close(descriptor)
    return owner


def _write(descriptor: int, owner: Owner) -> None:
    content, done = owner.to_bytes(), 0
    while done < len(content):  # the call after one that wrote a part says why
        done += os.pwrite(descriptor, content[done:], done)
