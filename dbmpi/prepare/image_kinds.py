"""Kinds of input that are images: folders of them, and IDX files."""

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from dbmpi.extras import extra
from dbmpi.prepare.kind import Kind, add_jobs, add_listing, jobs, listing_of

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
        help="folder with a folder of images for each class, or a CSV of their paths and labels",
    )
    parser.add_argument(
        "--size", metavar="WxH", type=_size, help="of all images, as 32x32; else all must have one size"
    )
    parser.add_argument(
        "--fit", choices=("crop", "pad", "stretch"), default="crop", help="images of other proportions (crop)"
    )
    parser.add_argument("--grey", action="store_true", help="one value a pixel in place of red, green, blue")
    add_listing(parser, "image")
    parser.add_argument(
        "--task", choices=("classes", "numbers", "members"), help="what labels of the CSV are (by its cells)"
    )
    parser.add_argument(
        "--separator", metavar="TEXT", help="between labels, where a cell of the CSV has several of them"
    )
    parser.add_argument(
        "--strict", action="store_true", help="refuse damaged images; else they are left out, and counted"
    )
    add_jobs(parser)


def _images(given: argparse.Namespace) -> "Source":
    with extra("pillow"):
        from dbmpi.prepare import image_list, image_targets, images, picture
    form = picture.Form(given.size, given.grey, given.fit)
    rest = form, jobs(given), given.strict, [given.files]
    if given.files.is_dir():
        items, left_out = partial(image_list.of_folder, given.files), image_list.not_listed(given.files)
        return images.ImageSource(items, image_targets.of_folder(), False, *rest, left_out)
    listing, items = listing_of(given), partial(image_list.of_table, given.files, listing_of(given))
    targets = image_targets.of_table(given.files, listing, given.task, given.separator)
    return images.ImageSource(items, targets, image_targets.are_grouped(given.files, listing), *rest)


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
    "DIR holds CLASS/*, or train/CLASS/* and test/CLASS/*; or it is a CSV of paths and labels, with columns\n"
    "path, label and, if it has them, split and group; or named by options.",
    "photos/ photos.h5 --size 32x32 --test-fraction 0.2",
    _add_images,
    _images,
)
