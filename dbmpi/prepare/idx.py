"""IDX files: MNIST and its relatives (Y. LeCun, "The MNIST database", section on the file formats).

Two bytes 0, the type (8: unsigned byte), the number of dimensions; each extent as a big-endian uint32; then
the values in row-major order.
"""

import gzip
import zlib
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import IO

import numpy as np

from dbmpi.arrays import Array
from dbmpi.errors import UserError
from dbmpi.prepare.source import Batch, Layout, batch_rows

MOST_VALUES = 1 << 28  # of an image: a damaged header can declare any
SPLITS = {"train": "train", "test": "t10k"}


class IdxSource:
    """A folder of the four files of MNIST, each gzipped (.gz) or not.

    Raises UserError where one is missing, not IDX, or does not fit the others.
    """

    def __init__(self, folder: Path) -> None:
        self._files = {
            name: tuple(
                IdxFile(_find(folder, prefix, content, n), n) for content, n in (("images", 3), ("labels", 1))
            )
            for name, prefix in SPLITS.items()
        }
        for images, labels in self._files.values():
            if images.shape[0] != labels.shape[0]:
                raise UserError(
                    f"{labels.path}: has {labels.shape[0]} labels, but {images.path} has "
                    f"{images.shape[0]} images; they do not belong together"
                )
        sizes = {name: images.shape[1:] for name, (images, _) in self._files.items()}
        if len(set(sizes.values())) > 1:
            raise UserError(f"{folder}: the images of train and t10k have different sizes: {sizes}")
        self._size, self.files = sizes["train"], [folder]
        self.record = np.dtype([("x", np.uint8, self._size), ("y", np.uint8)])
        self.expected = {name: images.shape[0] for name, (images, _) in self._files.items()}

    def batches(self) -> Iterator[Batch]:
        """Yield all images with their labels."""
        for name, (images, labels) in self._files.items():
            rows = batch_rows(self.record)
            for x, y in zip(images.batches(rows), labels.batches(rows), strict=True):
                records = np.empty(len(x), self.record)
                records["x"], records["y"] = x, y
                yield name, records

    def layout(self) -> Layout:
        """Return that images are kept as they are, 0 to 255 for 0 to 1."""
        uint8 = np.dtype(np.uint8)
        return Layout(
            self._size, uint8, (), uint8, lambda records: (records["x"], records["y"]), scale=1 / 255
        )


class IdxFile:
    """One file of unsigned bytes.

    Attributes
    ----------
    path : Path
        Gzipped if its name ends in ".gz".
    shape : tuple of int
    """

    def __init__(self, path: Path, dimensions: int) -> None:
        self.path, self._header = path, 4 + 4 * dimensions
        with self._open() as file:
            header = self._read(file, self._header)
        wanted = bytes([0, 0, 8, dimensions])
        if header[:4] != wanted:
            raise UserError(
                f"{path}: begins with 0x{header[:4].hex()}, not with 0x{wanted.hex()} as an IDX file of "
                f"bytes in {dimensions} dimensions does; is it another file under this name?"
            )
        if len(header) < self._header:
            raise self._damaged("ends within its header")
        self.shape = tuple(int(extent) for extent in np.frombuffer(header[4:], ">u4"))
        if 0 in self.shape:
            raise self._damaged(f"has shape {self.shape}, which holds nothing")
        declared, there = self._header + prod(self.shape), path.stat().st_size
        if prod(self.shape[1:]) > MOST_VALUES or (path.suffix != ".gz" and declared != there):
            raise self._damaged(f"declares shape {self.shape}, {declared} bytes, but has {there}")

    def batches(self, rows: int) -> Iterator[Array]:
        """Yield all values, uint8 (B, ...). Raises UserError unless there are as many as the header says."""
        each = int(np.prod(self.shape[1:], dtype=object))
        with self._open() as file:
            self._read(file, self._header)
            for start in range(0, self.shape[0], rows):
                wanted = min(rows, self.shape[0] - start) * each
                values = self._read(file, wanted)
                if len(values) != wanted:
                    raise self._damaged(f"ends before row {start + len(values) // each} of {self.shape[0]}")
                yield np.frombuffer(values, np.uint8).reshape(-1, *self.shape[1:])
            if self._read(file, 1):
                raise self._damaged(f"goes on behind the {self.shape[0]} rows of its header")

    def _open(self) -> IO[bytes]:
        return gzip.open(self.path, "rb") if self.path.suffix == ".gz" else self.path.open("rb")  # type: ignore[return-value]

    def _read(self, file: IO[bytes], size: int) -> bytes:
        try:
            return file.read(size)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise UserError(f"{self.path}: is not a whole gzip file ({error}); download it again") from error

    def _damaged(self, what: str) -> UserError:
        return UserError(f"{self.path}: {what}; it is truncated, empty or damaged: download it again")


def _find(folder: Path, prefix: str, content: str, dimensions: int) -> Path:
    """Return the path of one of the four files, the plain one before the gzipped one."""
    names = [f"{prefix}-{content}{dash}idx{dimensions}-ubyte{end}" for dash in "-." for end in ("", ".gz")]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise UserError(f"{folder}: has no file {names[0]}, nor {names[1]}; put the four IDX files there")
