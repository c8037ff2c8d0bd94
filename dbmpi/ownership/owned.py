"""A run directory as its owner sees it: everything gets there, and leaves it, by way of the owner's room.

A file is written in the room of the owner's generation and renamed to its place; what is removed is renamed
into the room first. A directory of the run that lies on another file system (a link, a mount) has a second
room in it, as nothing is renamed from one to another. Who takes the directory over removes the rooms of
earlier generations before it reads anything. So an owner that was stopped meanwhile, at whatever line,
changes nothing when it goes on: the names it would use are gone.
"""

import errno
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dbmpi import files
from dbmpi.errors import Fenced, TakenOver, UserError
from dbmpi.ownership import record
from dbmpi.ownership.record import Owner

TRIES = 5  # to remove what is there


@dataclass(frozen=True)
class OwnedDirectory:
    """A run directory, and the generation of owners that this job is.

    Parameters
    ----------
    path
        The directory, absolute.
    generation
        The owner's: 1 for the first one.
    uncertain
        Whether the owner before may be alive, and have files open.
    launch
        That of the owner's record: an owner of the same job has the same.
    apart
        The name of a directory in it that is on another file system; empty where all is on one.
    """

    path: Path
    generation: int
    uncertain: bool = False
    launch: str = ""
    apart: str = ""

    @property
    def room(self) -> Path:
        """Where everything is made that gets a name in the directory, on the same file system."""
        return record.room(self.path, self.generation)

    @property
    def rooms(self) -> list[Path]:
        """Its room, and the one of what is `apart`."""
        if not self.apart:
            return [self.room]
        return [self.room, record.second_room(self.path / self.apart, self.generation)]

    def room_for(self, name: str) -> Path:
        """Return the room on the file system of what has a name in the directory."""
        return self.rooms[-1] if name == self.apart else self.room

    def with_room_in(self, name: str) -> "OwnedDirectory":
        """Return it with a room of its own in a directory of it, if nothing can be renamed there. Local.

        That is tried, as a mount tells nothing by its number. Raises OSError.
        """
        there, tried = self.path / name, f".try-{self.generation:06d}"
        (self.room / tried).mkdir()
        try:
            (self.room / tried).rename(there / tried)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            owned = replace(self, apart=name)
            owned.rooms[-1].mkdir(parents=True, exist_ok=True)
            return owned
        finally:
            for left in (self.room / tried, there / tried):
                with suppress(OSError):
                    left.rmdir()
        return self

    def check(self) -> None:
        """See who owns the directory by now. Local.

        Raises
        ------
        Fenced
            Another rank of this job does, as this one was silent.
        TakenOver
            Another job does.
        """
        with suppress(UserError):
            newest = max(record.generations(self.path), default=0)
            if newest > self.generation:
                owner = Owner.of(record.read(self.path, newest))
                if owner is not None and owner.launch == self.launch:
                    raise Fenced
                raise TakenOver(
                    f"run directory {self.path} was taken over by {owner or 'an unknown owner'}: this run "
                    "ends, and has changed nothing there since"
                )

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Say of what cannot be written that another job owns the directory, where that is why.

        Raises
        ------
        TakenOver, Fenced
            In place of UserError and OSError.
        """
        try:
            yield
        except (OSError, UserError):
            self.check()
            raise

    @contextmanager
    def replacing(self, name: str) -> Iterator[Path]:
        """Yield a path to write a file at; flush it at the end, and give it its name. Raises as `writing`."""
        with self.guarded(), files.replacing(self.path / name, self.room) as temporary:
            yield temporary

    def write_text(self, name: str, text: str) -> None:
        """Write a text file, whole or not at all. Raises as `replacing`."""
        with self.replacing(name) as temporary:
            temporary.write_text(text, "utf-8")  # whatever the locale

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a mapping as JSON, whole or not at all. Raises as `replacing`."""
        with self.replacing(name) as temporary:
            temporary.write_text(files.json_text(content))

    def remove(self, path: Path) -> None:
        """Remove a file or a directory of the run, if it is there. Raises TakenOver, Fenced, OSError."""
        with self.guarded():
            room = self.room_for(path.relative_to(self.path).parts[0])
            away = room / f".gone-{path.name}"
            delete(away)
            _move(path, away, room)
            delete(away)

    def detach(self, name: str) -> None:
        """Put a copy in the place of a file: whoever has it open writes elsewhere. Raises as `replacing`."""
        if (self.path / name).is_file():
            with self.replacing(name) as temporary:
                shutil.copyfile(self.path / name, temporary)


def _move(path: Path, away: Path, room: Path) -> None:
    """Rename a path, if it is there, or remove it if that cannot be done. Raises OSError without the room."""
    try:
        path.rename(away)
    except FileNotFoundError:
        os.stat(room)
    except OSError:
        os.stat(room)
        delete(path)


def delete(path: Path) -> None:
    """Remove a file or a directory, whatever is there, as far as that can be done. Local.

    What fails is tried again: nobody comes back to it. Raises OSError where a file stays.
    """
    for left in reversed(range(TRIES)):
        try:
            _delete(path)
        except OSError:
            if not left:
                raise
        if not os.path.lexists(path):
            return


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
