"""Open a data set together with all that it takes rows from, each file and each data set once. Local."""

from contextlib import ExitStack
from math import prod
from pathlib import Path
from typing import Any

import h5py

from dbmpi.data.completeness import AGAIN
from dbmpi.data.grids import grid_of, size
from dbmpi.data.hdf5 import CACHE_BYTES, FORMAT, explain_errors, names, opened
from dbmpi.data.links import follow
from dbmpi.data.places import file_of
from dbmpi.data.raw import RawRows
from dbmpi.data.rows import Rows, StoredRows
from dbmpi.data.virtual import Mapping, VirtualRows
from dbmpi.data.watch import Watch
from dbmpi.errors import UserError

NAMED = f"name yours by data.inputs and data.targets (python -m dbmpi.data FILE shows how); {FORMAT}"
MOST_LEVELS = 8  # virtual data sets above each other; more is a circle
LEAST_CACHE_BYTES = 1 << 20  # for the chunks of a source, however many there are
# What another file is named for, and the variable that says where else it may lie.
VIRTUAL = "is virtual and takes rows from", "HDF5_VDS_PREFIX"
LINK = "is a link into", "HDF5_EXT_PREFIX"


class Sources:
    """The files that the rows of one data file come from.

    Parameters
    ----------
    path : Path
    main : h5py.File
        The data file, which the caller opened.
    files : ExitStack
        Which will close all others.
    """

    def __init__(self, path: Path, main: h5py.File, files: ExitStack) -> None:
        self._main, self._closing = main, files
        with explain_errors(f"{path}: the file"):
            self.watch = Watch(path, main.id.get_vfd_handle(), by_name=False)
        self._watches = {main.id.get_vfd_handle(): self.watch}
        self._files = {path: main}
        self._known: dict[tuple[int, str], Rows] = {}

    def data_set(self, place: str) -> h5py.Dataset:
        """Return the data set at a path of the data file, wherever links lead.

        Parameters
        ----------
        place : str
            "train/x", or any other.

        Raises
        ------
        UserError
            It or its group is missing, or lies in a file that cannot be opened.
        """
        path, (name, _, key) = Path(self._main.filename), place.strip("/").rpartition("/")
        group, found = self._at(name, key)
        if not isinstance(group, h5py.Group):
            raise UserError(f"{path}: has no group {name!r}, only {names(self._main)}; {NAMED}")
        if not isinstance(found, h5py.Dataset):
            holder = f"group {name!r} has" if name else "has"
            raise UserError(f"{path}: {holder} no data set {key!r}, only {names(group)}; {NAMED}")
        return found

    def leads(self, place: str) -> bool:
        """Return whether a path of the data file leads to a data set. Raises UserError as `data_set`."""
        name, _, key = place.strip("/").rpartition("/")
        return isinstance(self._at(name, key)[1], h5py.Dataset)

    def _at(self, name: str, key: str) -> tuple[Any, Any]:
        """Return a group of the data file, by its path, and what is in it; None for what is not there."""
        path = Path(self._main.filename)
        group = self._follow(self._main, name, f"{path}: {name}")
        if not isinstance(group, h5py.Group):
            return group, None
        return group, self._follow(group, key, f"{path}: {name}/{key}" if name else f"{path}: {key}")

    def _follow(self, group: h5py.Group, path: str, where: str) -> Any:
        """Return the object that a path leads to, None where there is none."""

        def open_file(name: str, named_in: h5py.File) -> h5py.File:
            return self._file(name, named_in, where, LINK, CACHE_BYTES)

        return follow(group, path, where, open_file)

    def rows(self, stored: h5py.Dataset, where: str, level: int = 1) -> Rows:
        """Return what reads a data set.

        Parameters
        ----------
        stored : h5py.Dataset
            In whatever file: links may have led there.
        where : str
            File and data set, for messages.
        level : int
            How many data sets, this one included, the rows come through.

        Raises
        ------
        UserError
            A file of it cannot be opened, or does not hold what it is to give.
        """
        with explain_errors(where):
            watch = self._watch(stored.file)
            if stored.is_virtual:
                return self._virtual(stored, where, level)
            if stored.external:
                return RawRows(stored, where, self._closing)
            return StoredRows(stored, where, watch)

    def _watch(self, file: h5py.File) -> Watch:
        """Watch the file of a data set, if nobody does."""
        handle = file.id.get_vfd_handle()
        if handle not in self._watches:
            self._watches[handle] = Watch(Path(file.filename), handle, by_name=True)
        return self._watches[handle]

    def _virtual(self, stored: h5py.Dataset, where: str, level: int) -> VirtualRows:
        if level > MOST_LEVELS:
            raise UserError(
                f"{where} is virtual and takes rows from itself, or through more than {MOST_LEVELS} others; "
                "store the rows in the file itself"
            )
        sources, shape = stored.virtual_sources(), tuple(int(extent) for extent in stored.shape)
        share = max(CACHE_BYTES // max(len({one.file_name for one in sources}), 1), LEAST_CACHE_BYTES)
        mappings = [
            self._mapping(one, shape, *self._source(one, stored.file, share, where, level)) for one in sources
        ]
        if (mapped := sum(size(one.ours) for one in mappings)) < prod(shape):
            raise UserError(
                f"{where} is virtual and takes {mapped} values from elsewhere, but has {prod(shape)}: "
                "map all of its rows"
            )
        return VirtualRows(stored, where, shape, mappings)

    def _source(
        self, source: Any, named_in: h5py.File, share: int, where: str, level: int
    ) -> tuple[Rows, str]:
        """Return what reads the source of a mapping, and its place for messages."""
        name, dset_name = (_plain(one, where) for one in (source.file_name, source.dset_name))
        file = named_in if name == "." else self._file(name, named_in, where, VIRTUAL, share)
        where = f"{where} (rows in {file.filename}: {dset_name})"
        key = file.id.get_vfd_handle(), dset_name
        if key not in self._known:
            found = self._follow(file, dset_name, where)
            if not isinstance(found, h5py.Dataset):
                raise UserError(f"{where}: there is no such data set; {AGAIN}")
            self._known[key] = self.rows(found, where, level + 1)
        return self._known[key], where

    def _file(
        self, name: str, named_in: h5py.File, where: str, means: tuple[str, str], cache_bytes: int
    ) -> h5py.File:
        """Return a file that another one names, open."""
        what, variable = means
        path = file_of(name, Path(named_in.filename), variable)
        if path is None:
            raise UserError(f"{where} {what} {name}, which is missing; put it beside {named_in.filename}")
        if path not in self._files:
            try:
                self._files[path] = self._closing.enter_context(opened(path, cache_bytes))
            except UserError as error:
                raise UserError(f"{where} {what} {error}") from error
        return self._files[path]

    @staticmethod
    def _mapping(source: Any, shape: tuple[int, ...], rows: Rows, where: str) -> Mapping:
        try:
            found = Mapping(grid_of(source.vspace, shape), grid_of(source.src_space, rows.shape), rows)
        except ValueError as error:
            raise UserError(f"{where}: {error}; {AGAIN}") from error
        ours, theirs = size(found.ours), size(found.theirs)
        if ours != theirs:
            raise UserError(f"{where}: {ours} values are to come from {theirs}; {AGAIN}")
        return found


def _plain(name: str, where: str) -> str:
    """Return a name in which two percent signs are one; refuse one that stands for any number of files."""
    if "%b" in name.replace("%%", ""):
        raise UserError(
            f"{where} is virtual and takes rows from {name}, as many as there are: one that is out of reach "
            "would only make fewer rows; map each by its name"
        )
    return name.replace("%%", "%")
