"""How a run directory gets an owner, and another one: by one rename, which one process alone can win.

A room with a record in it is made under a name of its own, and renamed to that of the next generation. A
directory is not renamed to one that is there and not empty, on any file system; so of two that try, one wins.
Then it removes the rooms of earlier owners, without which they can write nothing (`ownership.owned`).

An owner has to give way at once in three cases: it has said that it has ended; its process is gone, on this
host, and so is its launcher where ranks may die, as another rank succeeds it there; it is this job of the
batch system, which was put back into the queue. Else its record must stay as it is for as long as its lease
says, while this process looks. Clocks of hosts are not compared.
"""

import errno
import os
import secrets
import shutil
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from dbmpi.awake import AwakeClock
from dbmpi.errors import DirectoryOwned, Fenced, TakenOver, UserError
from dbmpi.ownership import record
from dbmpi.ownership.identity import Identity
from dbmpi.ownership.owned import OwnedDirectory, delete
from dbmpi.ownership.record import OWNER, RECORD, ROOMS, Owner

LONGEST_LOOK_S = 3.0  # what counts of the time between two looks: this process may have stood still
LOST = {errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, errno.ENOENT, errno.ESTALE}  # to another process
TRIES = 5  # where another process does something at the same moment


class Claimant:
    """A process that wants a run directory.

    Parameters
    ----------
    path
        The run directory, absolute; it is there.
    lease_s
        Of its own record.
    keeper
        As `Identity.own`.

    Attributes
    ----------
    watched_s
        How long the record of the present owner has not changed, while this process looked.
    """

    def __init__(self, path: Path, lease_s: float, keeper: int = 0) -> None:
        self._path, self._lease_s, self._me = path, lease_s, Identity.own(keeper=keeper)
        self._seen: tuple[int, bytes] = 0, b""
        self._clock = AwakeClock(LONGEST_LOOK_S)
        self._since, self.watched_s = self._clock(), 0.0

    def attempt(self) -> tuple[OwnedDirectory, Owner] | None:
        """Become the owner, if the directory has none that may live; return None where it has. Local.

        Raises
        ------
        UserError
            The directory cannot be read or written.
        """
        for _ in range(TRIES):  # who is slower than another looks who that is
            newest = self._look()
            before = Owner.of(self._seen[1])
            at_rest = newest == 0 or (before is not None and before.is_over())
            if not at_rest and not self._may_take(before):
                return None
            claimed = claim(self._path, newest + 1, self._lease_s, self._me, uncertain=not at_rest)
            if claimed is not None:
                return claimed
        return None

    def _look(self) -> int:
        """Look who the owner is, and how long its record has been as it is; return its generation."""
        newest = max(record.generations(self._path), default=0)
        now, seen = self._clock(), (newest, record.read(self._path, newest) if newest else b"")
        if seen != self._seen:
            self._seen, self._since = seen, now
        self.watched_s = now - self._since
        return newest

    def _may_take(self, before: Owner | None) -> bool:
        """Return whether an owner that may be alive has to give way."""
        if before is not None and before.identity.is_restarted_as(self._me):
            return True
        return self.watched_s >= self._lease_of(before)

    def _lease_of(self, owner: Owner | None) -> float:
        """Return after which time an owner gives way; its own, or where that cannot be read this one's."""
        return self._lease_s if owner is None else owner.lease_s

    def refusal(self) -> DirectoryOwned:
        """Return what says who has the directory."""
        lease_s = self._lease_of(Owner.of(self._seen[1]))
        return DirectoryOwned(
            f"{self.owner_text()}. With --wait this run begins when that one has ended, or has not renewed "
            f"its lease for {lease_s:g} s; or give another directory with --run-dir"
        )

    def owner_text(self) -> str:
        """Return a line that says who has the directory."""
        return f"run directory {self._path} belongs to another run: {self.owner_name()}"

    def owner_name(self) -> str:
        """Return who had the directory when this process looked."""
        owner, file = Owner.of(self._seen[1]), record.room(self._path, self._seen[0]) / RECORD
        return f"{owner}" if owner is not None else f"one whose record {file} cannot be read"


def holder(path: Path) -> Owner | None:
    """Return the owner of a directory, if it may be alive; None where there is none, or it is unknown. Local.

    Raises
    ------
    UserError
        The directory cannot be read.
    """
    newest = max(record.generations(path), default=0)
    owner = Owner.of(record.read(path, newest)) if newest else None
    return None if owner is None or owner.is_over() else owner


def claim(
    path: Path, generation: int, lease_s: float, me: Identity, uncertain: bool, launch: str = ""
) -> tuple[OwnedDirectory, Owner] | None:
    """Become the owner of a generation, and remove what earlier ones have; None if another process has won.

    Parameters
    ----------
    launch
        That of this job, if it has had the directory before.

    Raises
    ------
    UserError
        The directory cannot be written.
    """
    since = datetime.now(UTC).isoformat(timespec="seconds")
    owner = Owner(me, launch or secrets.token_hex(8), secrets.token_hex(8), since, lease_s)
    owned = OwnedDirectory(path, generation, uncertain, owner.launch)
    candidate = path / OWNER / f".{owner.token}"
    try:
        candidate.mkdir(parents=True)
        record.write_new(candidate / RECORD, owner)
        try:
            candidate.rename(owned.room)
        except OSError as error:  # what is there then tells, also where the answer to the call was lost
            if not _is_mine(owned, owner):
                if error.errno not in LOST:
                    raise
                return None
        if not _is_newest(owned):
            return None
        _fence(owned)
        return owned, owner
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            return None  # the winner has removed the candidate, or one that does not begin the directory
        raise UserError(
            f"run directory {path}: {error.strerror}: give another with --run-dir, or make it writable"
        ) from None
    finally:
        shutil.rmtree(candidate, ignore_errors=True)


def _is_mine(owned: OwnedDirectory, owner: Owner) -> bool:
    """Return whether the record of a generation is this owner's."""
    there = Owner.of(record.read(owned.path, owned.generation))
    return there is not None and there.token == owner.token


def _is_newest(owned: OwnedDirectory) -> bool:
    """Return whether the newest generation is this owner's; one that came too late is removed."""
    if max(record.generations(owned.path), default=0) == owned.generation:
        return True
    shutil.rmtree(owned.room, ignore_errors=True)
    return False


def _fence(owned: OwnedDirectory) -> None:
    """Remove the rooms of earlier owners, and what was to become one: first the name, then the content.

    An earlier owner on this host knows no other name; one on another host may know the directory by its
    number, and finds no file in it.
    """
    places = owned.path / OWNER, *owned.path.glob(f"*/{ROOMS}")
    for old in (place / name for place in places for name in os.listdir(place)):
        if old != owned.room and (old.name.isdecimal() or old.name.startswith(".")):
            away = old.with_name(f".gone-{secrets.token_hex(4)}")
            with suppress(OSError):
                old.rename(away)
                old = away
            with suppress(OSError):
                delete(old)


def restore(owned: OwnedDirectory, owner: Owner) -> None:
    """Make the room of an owner again, whose directory somebody has removed. Local.

    Raises
    ------
    TakenOver, Fenced
        It is gone as another owner has taken the directory over: that is seen once the room is there, also
        where a network file system shows an older state until then.
    OSError
        That cannot be done.
    """
    for room in owned.rooms:
        room.mkdir(parents=True, exist_ok=True)
    record.write_new(owned.room / RECORD, owner)
    try:
        owned.check()
    except (TakenOver, Fenced):
        for room in owned.rooms:
            shutil.rmtree(room, ignore_errors=True)
        raise


def succeed(owned: OwnedDirectory, lease_s: float, keeper: int = 0) -> tuple[OwnedDirectory, Owner]:
    """Take a directory over from a process of the same job that has died, or seems to have. Local.

    That may be one that has done so before. The record is not renewed by this: see `lease.Lease`.

    Parameters
    ----------
    lease_s
        Of the job, `output.lease_s`, whatever the record of that process says.
    keeper
        As `Identity.own`.

    Raises
    ------
    TakenOver
        Another job was faster.
    UserError
        The directory cannot be written.
    """
    newest = max(record.generations(owned.path), default=owned.generation)
    with suppress(Fenced):
        owned.check()
    me = Identity.own(keeper=keeper)
    taken = claim(owned.path, newest + 1, lease_s, me, uncertain=True, launch=owned.launch)
    if taken is None:
        owned.check()
        raise TakenOver(f"run directory {owned.path} was taken over by another job")
    mine, owner = taken
    with suppress(OSError):  # then no checkpoint can be written, which is told
        mine = mine.with_room_in(owned.apart) if owned.apart else mine
    return mine, owner
