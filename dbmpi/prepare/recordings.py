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
from dbmpi.prepare.listing import files_of
from dbmpi.prepare.source import TEST, TRAIN
from dbmpi.text import several

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
        Of their names without the end, as "{label}_{group}_{}", where {} is any text; None for no label.
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
    for path in sorted(one for one in folder.rglob("*") if one.suffix.lower() == ".wav" and not one.is_dir()):
        said = _matched(path, pattern) if pattern else {}
        split = TEST if test and fnmatch.fnmatchcase(path.stem, test) else TRAIN
        found.append(Recording(path, said.get("label", ""), split, said.get("group", str(path))))
    if not found:
        raise UserError(f"{folder}: has no file that ends in .wav")
    return found


def _check_pattern(pattern: str) -> None:
    """Refuse a pattern of names whose places are not each known, and there once."""
    places = [one for one in re.findall(PLACES, pattern) if one]
    if len({*places}) < len(places) or {*places} - {"label", "group"}:
        raise UserError(
            f"--names {pattern}: must have {{label}}, and may have {{group}}, once each; {{}} is any text"
        )


def _matched(path: Path, pattern: str) -> dict[str, str]:
    """Return what the name of a file says."""
    pieces = re.split(PLACES, pattern)
    text = "".join(
        (f"(?P<{piece}>.+?)" if piece else ".*?") if number % 2 else re.escape(piece)
        for number, piece in enumerate(pieces)
    )
    match = re.fullmatch(text, path.stem)
    if match is None:
        raise UserError(
            f"{path}: its name is not as --names {pattern} says; rename it, or give a CSV of paths and labels"
        )
    return match.groupdict()


def by_table(table: Path) -> list[Recording]:
    """List the WAV files of a table, see `listing.files_of`. Raises UserError."""
    return [Recording(one.path, one.label, one.split, one.group or str(one.path)) for one in files_of(table)]


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
