"""Kinds of input that are images: folders of them, and IDX files."""

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from dbmpi.prepare.kind import Kind, add_jobs, extra, jobs

if TYPE_CHECKING:
    from dbmpi.prepare.source import Source

MOST_PIXELS = 1 << 14  # of a side


def _add_idx(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", metavar="DIR", type=Path, help="folder of the four files")


def _idx(given: argparse.Namespace) -> "Source":
    from dbmpi.prepare.idx import IdxSource

    return IdxSource(given.files)


def _add_images(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files",
        metavar="DIR",
        type=Path,
        help="folder of images, or a CSV with the columns path, label, split",
    )
    parser.add_argument(
        "--size", metavar="WxH", type=_size, help="of all images, as 32x32; else all must have one size"
    )
    parser.add_argument(
        "--fit", choices=("crop", "pad", "stretch"), default="crop", help="images of other proportions (crop)"
    )
    parser.add_argument("--grey", action="store_true", help="one value a pixel in place of red, green, blue")
    parser.add_argument(
        "--strict", action="store_true", help="refuse damaged images; else they are left out, and counted"
    )
    add_jobs(parser)


def _images(given: argparse.Namespace) -> "Source":
    with extra("pillow"):
        from dbmpi.prepare import image_list, images, picture
    listing = image_list.of_folder if given.files.is_dir() else image_list.of_table
    form = picture.Form(given.size, given.grey, given.fit)
    return images.ImageSource(partial(listing, given.files), form, jobs(given), given.strict, [given.files])


def _size(text: str) -> tuple[int, int]:
    """Read a size as WxH; return height and width."""
    width, _, height = text.partition("x")
    if not (
        width.isdigit()
        and height.isdigit()
        and 0 < int(width) <= MOST_PIXELS
        and 0 < int(height) <= MOST_PIXELS
    ):
        raise argparse.ArgumentTypeError(f"{text} is no size; write width and height as 32x32")
    return int(height), int(width)


IDX = Kind(
    "the four IDX files of MNIST and its relatives",
    "DIR holds train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and\n"
    "t10k-labels-idx1-ubyte, each gzipped (.gz) or not.",
    "mnist/ mnist.h5",
    _add_idx,
    _idx,
)
IMAGES = Kind(
    "a folder of images for each class",
    "DIR holds CLASS/*, or train/CLASS/* and test/CLASS/*; or it is a CSV with the columns path, label\n"
    "and, if there is one, split.",
    "photos/ photos.h5 --size 32x32 --test-fraction 0.2",
    _add_images,
    _images,
)
