#!/usr/bin/env python
"""Turn a folder of the four IDX files (MNIST and its relatives) into the HDF5 format of dbmpi.

    python scripts/prepare_idx.py DIR OUT.h5 [--gzip]

DIR holds train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte,
each gzipped (.gz) or not. Needs numpy and h5py only. Status 2, and one line, for input that is not right.
"""

import argparse
import gzip
import os
import sys
import zlib
from pathlib import Path

import h5py
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from dbmpi.screen import screens

SPLITS = {"train": "train", "test": "t10k"}
CHUNK_ROWS = 128  # 100 kB of 28 x 28 images: a read worth its seek, and small beside a portion


class InputError(Exception):
    """The input is not four IDX files that belong together; the text names the file and the remedy."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line, and return its status: 0, or 2 for wrong input."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder of the four IDX files")
    parser.add_argument("out", type=Path, metavar="OUT.h5", help="file to write; one that exists is replaced")
    parser.add_argument("--gzip", action="store_true", help="compress: smaller on disk, slower to read")
    options = parser.parse_args(arguments)
    try:
        shapes = convert(options.folder, options.out, "gzip" if options.gzip else None)
    except (InputError, OSError) as error:
        print(f"prepare_idx: {error}", file=sys.stderr)
        return 2
    print(f"{options.out}: " + ", ".join(f"{name} {shape}" for name, shape in shapes.items()))
    return 0


def convert(folder: Path, out: Path, compression: str | None = None) -> dict[str, tuple[int, ...]]:
    """Write the data file under a temporary name, and rename it when it is complete.

    Parameters
    ----------
    folder : Path
        Holds the four IDX files.
    out : Path
        Is replaced if it exists.
    compression : str, optional
        A filter of HDF5, such as "gzip".

    Returns
    -------
    dict of str to tuple
        The shape of `x` of each split.

    Raises
    ------
    InputError
        A file is missing, not IDX, truncated, or does not fit the others.
    OSError
        `out` cannot be written.
    """
    if not out.parent.is_dir() or out.is_dir():
        raise InputError(f"{out}: cannot be written: its folder is missing, or it is a folder itself")
    splits = {name: read_split(folder, prefix) for name, prefix in SPLITS.items()}
    if splits["train"][0].shape[1:] != splits["test"][0].shape[1:]:
        shapes = {name: images.shape[1:] for name, (images, _) in splits.items()}
        raise InputError(f"{folder}: the images of train and t10k have different sizes: {shapes}")
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        write(temporary, splits, compression)
        os.replace(temporary, out)
    finally:
        temporary.unlink(missing_ok=True)
    return {name: images.shape for name, (images, _) in splits.items()}


def write(path: Path, splits: dict[str, tuple[np.ndarray, np.ndarray]], compression: str | None) -> None:
    """Write uint8 images (N, H, W) and labels (N,) of each split."""
    with h5py.File(path, "w") as file:
        for name, (images, labels) in splits.items():
            chunks = (min(CHUNK_ROWS, len(images)), *images.shape[1:])
            x = file.create_dataset(f"{name}/x", data=images, chunks=chunks, compression=compression)
            x.attrs["scale"], x.attrs["offset"] = 1 / 255, 0.0
            file[f"{name}/y"] = labels


def read_split(folder: Path, prefix: str) -> tuple[np.ndarray, np.ndarray]:
    """Read the images (N, H, W) and the labels (N,) of one split, both uint8."""
    images_path, labels_path = find(folder, prefix, "images", 3), find(folder, prefix, "labels", 1)
    images, labels = read_idx(images_path, 3), read_idx(labels_path, 1)
    if len(images) != len(labels):
        raise InputError(
            f"{labels_path}: has {len(labels)} labels, but {images_path} has {len(images)} images; "
            "they do not belong together"
        )
    return images, labels


def find(folder: Path, prefix: str, content: str, dimensions: int) -> Path:
    """Return the path of one of the four files, the plain one before the gzipped one."""
    names = [f"{prefix}-{content}{dash}idx{dimensions}-ubyte{end}" for dash in "-." for end in ("", ".gz")]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise InputError(f"{folder}: has no file {names[0]}, nor {names[1]}; put the four IDX files there")


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """Read one IDX file of unsigned bytes.

    Parameters
    ----------
    path : Path
        Gzipped if its name ends in ".gz".
    dimensions : int
        How many the array must have.

    Returns
    -------
    uint8 array

    Raises
    ------
    InputError
        It is something else, or not whole.

    Notes
    -----
    Two bytes 0, the type (8: unsigned byte), the number of dimensions; each extent as a big-endian uint32;
    then the values in row-major order (Y. LeCun, "The MNIST database", section on the file formats).
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{path}: is not a whole gzip file ({error}); download it again") from error
    header = 4 + 4 * dimensions
    magic, wanted = content[:4], bytes([0, 0, 8, dimensions])
    if magic != wanted:
        raise InputError(
            f"{path}: begins with 0x{magic.hex()}, not with 0x{wanted.hex()} as an IDX file of bytes in "
            f"{dimensions} dimensions does; is it another file under this name?"
        )
    shape = tuple(int(extent) for extent in np.frombuffer(content[4:header].ljust(header - 4, b"\0"), ">u4"))
    expected = header + int(np.prod(shape, dtype=object))
    if len(content) != expected or 0 in shape:
        raise InputError(
            f"{path}: has {len(content)} bytes where its header (shape {shape}) announces {expected}; "
            "it is truncated, empty or damaged: download it again"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


if __name__ == "__main__":
    with screens():
        status = main()
    sys.exit(status)
