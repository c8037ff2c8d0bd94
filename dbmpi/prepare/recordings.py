"""WAV files and their labels: listed by the names of the files, or in a table."""

import fnmatch
import os
import re
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dbmpi.arrays import Array
from dbmpi.errors import UserError
from dbmpi.prepare import regular
from dbmpi.prepare.listing import Listing, files_of, labels_of
from dbmpi.prepare.source import TEST
from dbmpi.prepare.splits import folders_of
from dbmpi.text import listed, several

OTHER_SOUNDS = ".flac", ".mp3", ".ogg", ".m4a", ".aif", ".aiff", ".sph", ".opus"
CONVERT = "convert it, as by: sox IN -b 16 -c 1 OUT.wav"
PLACES = r"\{(\w*)\}"  # in a pattern of names


@dataclass(frozen=True)
class Recording:
    """One file.

    Attributes
    ----------
    path, label, split
        Its label is empty where each frame has its own.
    group
        Recordings of one group, as of a speaker, stay in one split.
    """

    path: Path
    label: str
    split: str
    group: str


def by_names(folder: Path, pattern: str | None, test: str | None) -> list[Recording]:
    """List the WAV files in and below a folder.

    Parameters
    ----------
    pattern
        Of their names without the end, as "{label}_{group}_{}", where {} is any text; or of their paths from
        the folder on, as "{label}/{group}_{}". None: the label is the folder, where they lie in some.
    test
        Pattern of the names of those of the test split, as "*_[0-4]"; None for none.

    Raises
    ------
    UserError
        There is none, or a name is another.
    """
    _check_pattern(pattern or "")
    if not folder.is_dir():
        raise UserError(f"{folder}: is no folder; give the folder of the WAV files")
    found = []
    for split, top in folders_of(folder).items():
        for path in sorted(
            one for one in top.rglob("*") if one.suffix.lower() == ".wav" and not one.is_dir()
        ):
            inner = path.relative_to(top).with_suffix("")
            said = _matched(path, inner, pattern) if pattern else _by_folder(inner)
            name = str(inner) if "/" in (test or "") else path.stem
            own = TEST if test and fnmatch.fnmatchcase(name, test) else split
            found.append(Recording(path, said.get("label", ""), own, said.get("group", str(path))))
    if not found:
        others = sorted({one.suffix for one in folder.rglob("*") if one.suffix.lower() in OTHER_SOUNDS})
        remedy = f", but {listed(others)}; convert them, as by: sox IN -b 16 -c 1 OUT.wav" if others else ""
        raise UserError(f"{folder}: has no file that ends in .wav{remedy}")
    return found


def _by_folder(inner: Path) -> dict[str, str]:
    return {"label": inner.parts[0]} if len(inner.parts) > 1 else {}


def _check_pattern(pattern: str) -> None:
    """Refuse a pattern of names whose places are not each known, and there once."""
    places = [one for one in re.findall(PLACES, pattern) if one]
    if len({*places}) < len(places) or {*places} - {"label", "group"}:
        raise UserError(
            f"--names {pattern}: must have {{label}}, and may have {{group}}, once each; {{}} is any text"
        )


def _matched(path: Path, inner: Path, pattern: str) -> dict[str, str]:
    """Return what the name of a file says, or its path from the folder on."""
    pieces = re.split(PLACES, pattern)
    text = "".join(
        (f"(?P<{piece}>.+?)" if piece else ".*?") if number % 2 else re.escape(piece)
        for number, piece in enumerate(pieces)
    )
    match = re.fullmatch(text, str(inner) if "/" in pattern else path.stem)
    if match is None:
        raise UserError(
            f"{path}: its name is not as --names {pattern} says; rename it, or give a CSV of paths and labels"
        )
    return match.groupdict()


def by_table(table: Path, listing: Listing) -> list[Recording]:
    """List the WAV files of a table, see `listing.files_of`. Raises UserError."""
    if len(labels_of(table, listing)) > 1:
        raise UserError(f"{table}: a recording has one label; give one --label")
    files = files_of(table, listing)
    found = [Recording(one.path, one.labels[0], one.split, one.group or str(one.path)) for one in files]
    if not found:
        raise UserError(f"{table}: lists no recording; write a line for each")
    return found


def samples(path: Path) -> tuple[int, int]:
    """Return rate and number of samples of a WAV. Raises UserError unless it is 16-bit mono, and whole."""
    with _opened(path) as file:
        return file.getframerate(), file.getnframes()


def signal(path: Path) -> Array:
    """Return the samples of a WAV, int16. Raises UserError."""
    with _opened(path) as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2")


@contextmanager
def _opened(path: Path) -> Iterator[wave.Wave_read]:
    """Open a WAV; raise UserError for whatever is wrong with it."""
    with _explained(path), regular.opened(path) as stored, wave.open(stored) as file:
        if (file.getnchannels(), file.getsampwidth()) != (1, 2):
            raise UserError(
                f"{path}: has {several(file.getnchannels(), 'channel')} of {8 * file.getsampwidth()} bits, "
                f"not one of 16; {CONVERT}"
            )
        there, expected = (os.fstat(stored.fileno()).st_size - stored.tell()) // 2, file.getnframes()
        if there < expected:
            raise UserError(
                f"{path}: ends after {there} of {expected} samples; copy it again, or leave it out"
            )
        yield file


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # of a damaged file the library raises anything
        raise UserError(f"{path}: cannot be read as a WAV: {regular.reason(error)}; {CONVERT}") from error
