"""From a source to a data file: its records are shuffled, cut into splits, converted and written.

The file gets its name when it is whole.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shutil import disk_usage

import h5py
import numpy as np

from dbmpi.arrays import Array
from dbmpi.checkpoint.hdf5_file import creating
from dbmpi.data.hdf5 import ATTRIBUTE_RANGE
from dbmpi.data.moments import Moments
from dbmpi.errors import UserError
from dbmpi.files import versions, writing
from dbmpi.prepare.cuts import Cuts, Tally, cuts_of
from dbmpi.prepare.progress import Progress
from dbmpi.prepare.source import TRAIN, Layout, Source, batch_rows
from dbmpi.prepare.spool import Spool
from dbmpi.prepare.unfinished import whole
from dbmpi.text import has_control, plain, several, show

CHUNK_BYTES = 100 << 10  # at most: a read worth its seek, and small beside a portion
LONGEST_ESCAPE = 10  # characters that stand for one
NONE, COLUMNS, ALL = "none", "columns", "all"


@dataclass(frozen=True)
class Options:
    """What the command line says about input of any kind.

    Attributes
    ----------
    fractions
        Of each split that is cut from the training rows.
    seed
        Draws the order and the cuts.
    keep_order
        Write the rows in the order of the files.
    scaling
        Of the inputs: "none", or mean 0 and deviation 1 of each of the "columns" or of "all" together.
    compression
        A filter of HDF5, such as "gzip".
    replace
        Whether a file of that name may be replaced.
    notes
        Attributes of the data file.
    """

    fractions: Mapping[str, float] = field(default_factory=dict)
    seed: int = 1
    keep_order: bool = False
    scaling: str = NONE
    compression: str | None = None
    replace: bool = False
    notes: Mapping[str, str] = field(default_factory=dict)


def write(out: Path, source: Source, options: Options, progress: Progress) -> dict[str, int]:
    """Write a data file. Local.

    Returns
    -------
    dict of str to int
        Rows of each split.

    Raises
    ------
    UserError
        Something is wrong with the source, or the file cannot be written; a file of that name is as before.
    """
    rng = np.random.default_rng(options.seed)
    with whole(out, options.replace, source.files) as unfinished:
        spools, tallies = _read(source, out.parent, None if options.keep_order else rng, progress)
        layout = source.layout()
        _check_names(layout, _files(source))
        _check_classes(layout, source.record, tallies, _files(source))
        rows: dict[str, int] = {}
        with writing(out), creating(unfinished, ("latest", "latest")) as file:
            file.attrs.update(_about(layout, options))
            for given, spool in spools.items():
                fractions = options.fractions if given == TRAIN else {}
                try:
                    cuts = cuts_of(source.record, tallies[given].counts, given, fractions, rng)
                except UserError as error:
                    raise UserError(f"{_files(source)}: {error}") from error
                _check_rows(cuts.rows, _files(source))
                _write_splits(file, spool, cuts, layout, options)
                rows |= cuts.rows
            _write_scaling(file, layout)
    return rows


def _read(
    source: Source, folder: Path, rng: np.random.Generator | None, progress: Progress
) -> tuple[dict[str, Spool], dict[str, Tally]]:
    """Read all records of a source, and count their classes or groups."""
    _check_room(source, folder)
    spools = {name: Spool(source.record, n, rng, folder) for name, n in source.expected.items()}
    tallies = {name: Tally() for name in spools}
    with progress.over(sum(source.expected.values())) as advance:
        for split, records in source.batches():
            spools[split].add(records)
            tallies[split].add(records)
            advance(len(records))
    if not spools[TRAIN].rows:
        raise UserError(f"{_files(source)}: there is no row to train with: nothing is written")
    return {name: spool for name, spool in spools.items() if spool.rows}, tallies


def _files(source: Source) -> str:
    """Name the files of a source for a message."""
    more = f" and {several(len(source.files) - 1, 'other')}" if len(source.files) > 1 else ""
    return f"{source.files[0]}{more}"


def _check_room(source: Source, folder: Path) -> None:
    """Refuse rows that do not fit on the disk: a damaged file may declare any number."""
    wanted, free = source.record.itemsize * sum(source.expected.values()), disk_usage(folder).free
    if wanted > free:
        raise UserError(
            f"{_files(source)}: its rows take about {wanted / 1e6:,.1f} MB, but {folder} has room for "
            f"{free / 1e6:,.1f} MB: make room, write elsewhere, or check that the file is whole"
        )


def _check_rows(rows: Mapping[str, int], files: str) -> None:
    for name, count in rows.items():
        if not count:
            remedy = "" if name == TRAIN else f", or --{name}-fraction 0"
            raise UserError(
                f"{files}: the split {name} would have no rows of {sum(rows.values())}: give more rows, or "
                f"another fraction{remedy}"
            )


def _check_names(layout: Layout, files: str) -> None:
    """Refuse classes that a run refuses: they stand in its messages, and go with the model."""
    for name in layout.class_names or ():
        if not name or has_control(name):
            raise UserError(
                f"{files}: the class {show(name)} is empty, has control characters, or is no UTF-8; give it "
                "another name"
            )


def _check_classes(layout: Layout, record: np.dtype, tallies: Mapping[str, Tally], files: str) -> None:
    """Refuse a class that only rows for another split have: nothing could be learned of it."""
    known = np.flatnonzero(tallies[TRAIN].classes)
    for name, tally in tallies.items():
        unknown = np.setdiff1d(np.flatnonzero(tally.classes), known)
        if len(unknown):
            row = np.zeros(1, record)
            row["y"] = unknown[0]
            label = int(layout.convert(row)[1][0])
            shown = show(layout.class_names[label]) if layout.class_names else label
            raise UserError(
                f"{files}: rows for {name} have the class {shown}, of which no training row is; add some, or "
                "leave it out"
            )


def _about(layout: Layout, options: Options) -> dict[str, str | int | Sequence[str]]:
    """Return what the file says about itself."""
    made_by = {
        f"{name}_version": text for name, text in versions().items() if name in ("dbmpi", "numpy", "h5py")
    }
    order = "of the files" if options.keep_order else "shuffled"
    notes = {name: _printable(text) for name, text in {**options.notes, **layout.notes}.items()}
    return {**notes, **made_by, "seed": options.seed, "order": order}


def _printable(text: str | Sequence[str]) -> str | list[str]:
    """Return texts that HDF5 can hold, whatever names of files and columns they are made of."""
    if isinstance(text, str):
        return plain(text, len(text) * LONGEST_ESCAPE)
    return [plain(one, len(one) * LONGEST_ESCAPE) for one in text]


def _write_splits(file: h5py.File, spool: Spool, cuts: Cuts, layout: Layout, options: Options) -> None:
    """Write the rows of a spool to the splits that they are cut into."""
    writers = [_SplitWriter(file, name, rows, layout, options) for name, rows in cuts.rows.items()]
    for records in _pieces(spool.batches(), batch_rows(spool.record)):
        position = cuts.positions(records)
        for number, writer in enumerate(writers):
            chosen = records.compress(position == number) if len(writers) > 1 else records
            if len(chosen):
                writer.add(*layout.convert(chosen))
    for writer in writers:
        writer.close()


def _pieces(batches: Iterator[Array], rows: int) -> Iterator[Array]:
    """Yield batches in pieces of so many rows: what is made of them takes several times their memory."""
    for batch in batches:
        yield from (batch[start : start + rows] for start in range(0, len(batch), rows))


class _SplitWriter:
    """Writes x and y of one split, from the first row to the last."""

    def __init__(self, file: h5py.File, name: str, rows: int, layout: Layout, options: Options) -> None:
        self._done, self._scaling = 0, options.scaling if name == TRAIN else NONE
        self._moments = Moments()
        self._x = self._dataset(
            file, f"{name}/x", (rows, *layout.x_shape), layout.x_dtype, options.compression
        )
        self._y = self._dataset(
            file, f"{name}/y", (rows, *layout.y_shape), layout.y_dtype, options.compression
        )
        if layout.class_names is not None:
            self._y.attrs["class_names"] = list(layout.class_names)

    @staticmethod
    def _dataset(
        file: h5py.File, name: str, shape: tuple[int, ...], dtype: np.dtype, compression: str | None
    ) -> h5py.Dataset:
        """Make a data set of whole rows in chunks, whose checksums let damage be found."""
        row_bytes = dtype.itemsize * int(np.prod(shape[1:], dtype=object))
        most = max(1, CHUNK_BYTES // row_bytes)
        chunk = (min(shape[0], 1 << most.bit_length() - 1), *shape[1:])
        return file.create_dataset(name, shape, dtype, chunks=chunk, compression=compression, fletcher32=True)

    def add(self, x: Array, y: Array) -> None:
        """Write the next rows."""
        rows = slice(self._done, self._done + len(x))
        self._x[rows], self._y[rows] = x, y
        self._done += len(x)
        if self._scaling != NONE:
            self._moments.add(x.reshape(len(x), -1))

    def close(self) -> None:
        """Write what is known when all rows are written."""
        if self._scaling != NONE:
            found = self._moments.together() if self._scaling == ALL else self._moments
            scale = 1 / found.deviation_C
            if scale.max() > ATTRIBUTE_RANGE[1]:
                raise UserError(
                    f"--scaling: column {int(scale.argmax())} of x has a standard deviation of "
                    f"{1 / scale.max():g}, which is too small; multiply its values"
                )
            shape = self._x.shape[1:] if self._scaling == COLUMNS else ()
            self._x.attrs["scale"] = scale.reshape(shape)
            self._x.attrs["offset"] = (-found.mean_C * scale).reshape(shape)


def _write_scaling(file: h5py.File, layout: Layout) -> None:
    """Give the inputs of all splits the scale and offset of the training rows, or those of the layout."""
    found = dict(file[TRAIN]["x"].attrs)
    for group in file.values():
        group["x"].attrs["scale"] = found.get("scale", layout.scale)
        group["x"].attrs["offset"] = found.get("offset", layout.offset)
