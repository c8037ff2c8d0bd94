"""What one shard puts into a checkpoint: a copy of its slice, written to a file while it serves on."""

import threading
import time
from collections.abc import Mapping
from pathlib import Path

from dbmpi.arrays import Array
from dbmpi.checkpoint.directory import (
    FileRecord,
    Written,
    construction_directory,
    record_of,
    shard_file_name,
)
from dbmpi.checkpoint.hdf5_file import creating
from dbmpi.errors import UserError
from dbmpi.files import writing
from dbmpi.ownership.owned import OwnedDirectory
from dbmpi.spans import OFF, Kind, Off

AT_ONCE = 1 << 20  # elements written in one call


def write(path: Path, vectors: Mapping[str, Array]) -> FileRecord:
    """Write a shard's file, and flush it. Raises as `writing`."""
    with writing(path), creating(path) as out:
        for name, values in vectors.items():
            data = out.create_dataset(name, values.shape, values.dtype)
            for start in range(0, len(values), AT_ONCE):
                data[start : start + AT_ONCE] = values[start : start + AT_ONCE]
    with writing(path):
        return record_of(path)


class ShardWriter:
    """Writes snapshots of one shard in the background, one at a time.

    Parameters
    ----------
    owned
        The run directory.
    shard
        Index of the shard.
    spans
        Records when.
    """

    def __init__(self, owned: OwnedDirectory, shard: int, spans: Off = OFF) -> None:
        self._owned, self._shard, self._spans = owned, shard, spans
        self._thread: threading.Thread | None = None
        self._written: Written | None = None
        self._error: BaseException | None = None

    def begin(self, number: int, vectors: Mapping[str, Array]) -> None:
        """Begin to write the file of checkpoint `number`; `vectors` are its own from now on."""
        assert self._thread is None
        self._thread = threading.Thread(target=self._write, args=(number, vectors), daemon=True)
        self._thread.start()

    def _write(self, number: int, vectors: Mapping[str, Array]) -> None:
        path = construction_directory(self._owned, number) / shard_file_name(self._shard)
        start = time.monotonic()
        try:
            with self._owned.guarded():
                self._written = Written(number, self._shard, write(path, vectors))
        except UserError as error:
            self._written = Written(number, self._shard, None, str(error))
        except BaseException as error:  # raised again where the shard asks
            self._error = error
        self._spans.add((Kind.FILE, start, time.monotonic(), number))

    def join(self) -> None:
        """Wait until what is being written has been."""
        if self._thread is not None:
            self._thread.join()

    def take_written(self) -> Written | None:
        """Return what has been written since the last call, or why it could not be, if it is over."""
        if self._thread is None or self._thread.is_alive():
            return None
        self._thread.join()
        self._thread, error, self._error = None, self._error, None
        if error is not None:
            raise error
        return self._written
