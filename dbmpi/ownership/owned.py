"""A run directory as its owner sees it: everything gets there, and leaves it, by way of the owner's room.

A file is written in the room of the owner's generation and renamed to its place; what is removed is renamed
into the room first. Who takes the directory over removes the rooms of earlier generations before it reads
anything. So an owner that was stopped meanwhile, at whatever line, changes nothing when it goes on: the names
it would use are gone.
"""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dbmpi import files
from dbmpi.errors import TakenOver, UserError
from dbmpi.ownership import record
from dbmpi.ownership.record import Owner


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
    """

    path: Path
    generation: int
    uncertain: bool = False

    @property
    def room(self) -> Path:
        """Where everything is made that gets a name in the directory, on the same file system."""
        return record.room(self.path, self.generation)

    def check(self) -> None:
        """Raise TakenOver if another job owns the directory by now. Local."""
        with suppress(UserError):
            newest = max(record.generations(self.path), default=0)
            if newest > self.generation:
                who = Owner.of(record.read(self.path, newest)) or "an unknown owner"
                raise TakenOver(
                    f"run directory {self.path} was taken over by {who}: this run ends, and has changed "
                    "nothing there since"
                )

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Say of what cannot be written that another job owns the directory, where that is why.

        Raises
        ------
        TakenOver
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
        """Remove a file or a directory of the run, if it is there. Raises TakenOver, OSError."""
        with self.guarded():
            away = self.room / f".gone-{path.name}"
            _delete(away)
            _move(path, away, self.room)
            _delete(away)

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
        _delete(path)


def _delete(path: Path) -> None:
    """Remove a file or a directory, whatever is there, as far as that can be done."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
