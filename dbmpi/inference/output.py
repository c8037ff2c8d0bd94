"""Files of predictions, written block by block, and there as a whole or not at all: HDF5, npz and CSV.

Blocks come as bytes, which any rank has made of records by `encode`; only rank 0 writes. Letter: N rows.
"""

import os
import select
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, Protocol

import h5py
import numpy as np

from dbmpi.arrays import Record
from dbmpi.checkpoint.hdf5_file import creating
from dbmpi.errors import CannotWrite, UserError
from dbmpi.files import working_directory, writing
from dbmpi.inference.records import layout, names_of
from dbmpi.inference.text import Lines
from dbmpi.prepare import unfinished
from dbmpi.screen import Screen
from dbmpi.trained.model import TrainedModel

KINDS = ".h5", ".hdf5", ".npz", ".csv"
STDOUT = "-"
COPY_BYTES = 1 << 20
REMEDY = "look at the space and the quota there, or write to another place"
Append = Callable[[bytes], bool]  # returns whether anybody reads what is written


class Output(Protocol):
    """A place for predictions."""

    def encode(self, records: Record) -> bytes:
        """Return what `append` takes, of records `(N,)`."""

    def rows(self, content: bytes) -> int:
        """Return how many records some content is of."""

    def writing(self) -> Any:
        """Return a context which gives `Append`; the file has its name when it ends without an error."""


class ArrayOutput:
    """A file with an array for each field of the records.

    Parameters
    ----------
    path
        Ends with .npz, or is HDF5.
    kind
        The type of a record.
    notes
        What else the file says: texts, and `class_names`.
    """

    def __init__(self, path: Path, kind: "np.dtype[Any]", notes: Mapping[str, Any]) -> None:
        self._path, self._kind, self._notes = path, kind, notes

    def encode(self, records: Record) -> bytes:
        """See `Output.encode`."""
        return records.tobytes()

    def rows(self, content: bytes) -> int:
        """See `Output.rows`."""
        return len(content) // self._kind.itemsize

    @contextmanager
    def writing(self) -> Iterator[Append]:
        """See `Output.writing`."""
        make = _npz if self._path.suffix == ".npz" else _hdf5
        with _whole(self._path) as temporary, make(temporary, self._kind, self._notes) as append:

            def take(content: bytes) -> bool:
                append(np.frombuffer(content, self._kind))
                return True

            yield take


class TextOutput:
    """A CSV file, or standard output.

    Parameters
    ----------
    path
        None: standard output.
    lines
        What makes lines of records.
    """

    def __init__(self, path: Path | None, lines: Lines) -> None:
        self._path, self._lines = path, lines

    def encode(self, records: Record) -> bytes:
        """See `Output.encode`."""
        return self._lines.encode(records)

    def rows(self, content: bytes) -> int:
        """See `Output.rows`."""
        return content.count(b"\n")

    @contextmanager
    def writing(self) -> Iterator[Append]:
        """See `Output.writing`."""
        if self._path is None:
            with _explained(Path("standard output")):
                yield _printed(self._lines.header)
            return
        with _whole(self._path) as temporary, temporary.open("wb") as file:
            file.write(self._lines.header)
            yield lambda content: bool(file.write(content)) or True


def output(path: Path | None, trained: TrainedModel, probabilities: bool) -> Output:
    """Return the place for what a model says, by its name; None: standard output.

    `probabilities` says whether a CSV file has a column for each class or label.
    """
    kind, form = layout(trained), trained.format
    if path is None or path.suffix == ".csv":
        return TextOutput(path, Lines(kind, names_of(form, trained.network.outputs), probabilities))
    notes: dict[str, Any] = {"model": str(trained.path), "outputs": form.outputs}
    if form.class_names:
        notes["class_names"] = list(form.class_names)
    return ArrayOutput(path, kind, notes)


def check_place(out: str, others: Mapping[str, Path]) -> Path | None:
    """Return where predictions go, None for standard output; nothing is written.

    Parameters
    ----------
    others
        Files that must stay, by what they are.

    Raises
    ------
    UserError
        The name says no kind of file, there is no such directory, or it is one of the others; or there is no
        standard output.
    """
    if out == STDOUT:
        if isinstance(sys.stdout, Screen) and sys.stdout.absent:
            raise UserError("there is no standard output to write to (>&-); name a file in place of -")
        return None
    path = Path(out)
    if path.suffix not in KINDS:
        raise UserError(f"{out}: its name says no kind of file; end it with {', '.join(KINDS)}, or give -")
    with _explained(path):  # some names cannot even be looked for
        _check_place(path, others)
    return path


def _check_place(path: Path, others: Mapping[str, Path]) -> None:
    if not path.parent.is_dir():
        raise UserError(
            f"{path}: there is no directory {path.parent} (the working directory is {working_directory()}); "
            "make it first"
        )
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise UserError(f"{path}: is a directory, or in one that may not be written to; give another name")
    for what, other in others.items():
        if path.exists() and other.exists() and path.samefile(other):
            raise UserError(f"{path}: is the {what}, which would be lost; give another name")


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Say what to do where a file cannot be written."""
    try:
        with writing(path):
            yield
    except CannotWrite as error:
        error.remedy = REMEDY
        raise


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """Yield a temporary name; what is there at the end gets its own name, and nothing stays otherwise."""
    from dbmpi.run.start.early import EARLY

    before, EARLY.let_go = EARLY.let_go, unfinished.remove
    try:
        with _explained(path), unfinished.whole(path, True, ()) as temporary:
            yield temporary
    finally:
        EARLY.let_go = before


def _printed(header: bytes) -> Append:
    """Write a header to standard output; return what writes the rest, waiting for a reader."""

    def append(content: bytes) -> bool:
        try:
            rest = memoryview(content)
            while rest:
                rest = rest[_written(rest) :]
        except BrokenPipeError:  # it has seen enough
            return False
        return True

    append(header)
    return append


def _written(content: memoryview) -> int:
    """Write some of it to standard output, waiting for a reader; return how much."""
    try:
        return os.write(1, content)
    except BlockingIOError:  # who shares it does not want to wait
        select.select([], [1], [])
        return 0


@contextmanager
def _hdf5(path: Path, kind: "np.dtype[Any]", notes: Mapping[str, Any]) -> Iterator[Callable[[Record], None]]:
    with creating(path) as file:
        for name, value in notes.items():
            file.attrs[name] = value
        for name in kind.names or ():
            each = kind[name]
            file.create_dataset(name, (0, *each.shape), each.base, maxshape=(None, *each.shape), chunks=True)
        if "class_names" in notes and "class" in file:
            file["class"].attrs["class_names"] = notes["class_names"]
        yield lambda records: _append(file, records)


def _append(file: h5py.File, records: Record) -> None:
    for name in records.dtype.names or ():
        stored = file[name]
        start = len(stored)
        stored.resize(start + len(records), axis=0)
        stored[start:] = records[name]


@contextmanager
def _npz(path: Path, kind: "np.dtype[Any]", notes: Mapping[str, Any]) -> Iterator[Callable[[Record], None]]:
    """Keep arrays in files without names beside it, as their lengths are known at the end."""
    with ExitStack() as files:
        parts = {
            name: files.enter_context(tempfile.TemporaryFile(dir=path.parent)) for name in kind.names or ()
        }
        count = [0]

        def append(records: Record) -> None:
            count[0] += len(records)
            for name, part in parts.items():
                part.write(np.ascontiguousarray(records[name]).tobytes())

        yield append
        with zipfile.ZipFile(path, "w") as archive:
            for name, part in parts.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    _header(member, (count[0], *kind[name].shape), kind[name].base)
                    part.seek(0)
                    shutil.copyfileobj(part, member, COPY_BYTES)
            for name, value in notes.items():
                with archive.open(f"{name}.npy", "w") as member:
                    np.lib.format.write_array(member, np.asarray(value), allow_pickle=False)


def _header(member: IO[bytes], shape: tuple[int, ...], dtype: "np.dtype[Any]") -> None:
    said = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_2_0(member, said)
