"""The kinds of input: what each is called, its own arguments, and how its source is made.

A kind is imported when it is used: the way to `--help` loads neither numpy nor Pillow.
"""

import argparse
import glob
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from dbmpi.errors import UserError

if TYPE_CHECKING:
    from dbmpi.prepare.source import Source


MOST_PIXELS = 1 << 14  # of a side


@dataclass(frozen=True)
class Kind:
    """One kind.

    Attributes
    ----------
    summary, description, example
        For `--help`; the example is what follows the kind on the command line.
    add_arguments
        Adds its arguments to a parser: `files`, and options.
    source
        Makes the source of what was given. Raises UserError.
    scaling
        Of the inputs, by default.
    """

    summary: str
    description: str
    example: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    source: Callable[[argparse.Namespace], "Source"]
    scaling: str = "none"


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
    _add_jobs(parser)


def _images(given: argparse.Namespace) -> "Source":
    with _extra("pillow"):
        from dbmpi.prepare import images, picture
    listing = images.of_folder if given.files.is_dir() else images.of_table
    form = picture.Form(given.size, given.grey, given.fit)
    return images.ImageSource(partial(listing, given.files), form, _jobs(given), given.strict, [given.files])


def _add_table(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files",
        metavar="FILE",
        nargs="+",
        help="CSV or TSV, gzipped or not; several, or a pattern in quotes, are one table",
    )
    parser.add_argument(
        "--target",
        metavar="NAME",
        action="append",
        required=True,
        help="column to be learned; again for several",
    )
    parser.add_argument("--task", choices=("classes", "numbers"), help="what the target is (by its cells)")
    parser.add_argument(
        "--drop", metavar="NAME", action="append", default=[], help="column to leave out; again for several"
    )
    parser.add_argument(
        "--categorical", metavar="NAME", action="append", default=[], help="column whose numbers are names"
    )
    parser.add_argument("--groups", metavar="NAME", help="column whose rows of one text stay in one split")
    parser.add_argument("--split", metavar="NAME", help="column that says train, validation or test")
    parser.add_argument(
        "--missing",
        choices=("refuse", "drop", "mean"),
        default="refuse",
        help="empty cells: refuse them; drop their rows; or the mean, of texts a category of its own",
    )
    parser.add_argument(
        "--no-header", action="store_true", help="the first line has no names: they are 1, 2, 3, ..."
    )


def _table(given: argparse.Namespace) -> "Source":
    from dbmpi.prepare.delimited import DelimitedFile
    from dbmpi.prepare.table import TableSource, Wanted

    wanted = Wanted(
        given.target, given.task, given.drop, given.categorical, given.groups, given.split, given.missing
    )
    return TableSource([DelimitedFile(path, not given.no_header) for path in _files(given.files)], wanted)


def _files(names: Sequence[str]) -> list[Path]:
    """Return the files of names, some of which may be patterns. Raises UserError where there is none."""
    found = []
    for name in names:
        there = [name] if Path(name).exists() else sorted(glob.glob(name, recursive=True))
        if not there:
            raise UserError(f"{name}: there is no such file")
        found += there
    return [Path(name) for name in found]


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


def _add_jobs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--jobs", metavar="N", type=int, help="processes that decode (one for each core)")


def _jobs(given: argparse.Namespace) -> int:
    from dbmpi.prepare.pool import usable_cores

    return max(1, given.jobs or usable_cores())


@contextmanager
def _extra(package: str) -> Iterator[None]:
    """Say how to install what only one kind needs."""
    try:
        yield
    except ImportError as error:
        raise UserError(f"this kind needs {package} ({error}): pip install 'dbmpi[prepare]'") from error


KINDS = {
    "idx": Kind(
        "the four IDX files of MNIST and its relatives",
        "DIR holds train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and\n"
        "t10k-labels-idx1-ubyte, each gzipped (.gz) or not.",
        "mnist/ mnist.h5",
        _add_idx,
        _idx,
    ),
    "images": Kind(
        "a folder of images for each class",
        "DIR holds CLASS/*, or train/CLASS/* and test/CLASS/*; or it is a CSV with the columns path, label\n"
        "and, if there is one, split.",
        "photos/ photos.h5 --size 32x32 --test-fraction 0.2",
        _add_images,
        _images,
    ),
    "table": Kind(
        "a table of numbers and texts (CSV, TSV)",
        "Columns of texts become a 0 or 1 for each text. The target is a class where it has texts or few\n"
        "different integers, else a number.",
        "diamonds.csv diamonds.h5 --target price",
        _add_table,
        _table,
        scaling="features",
    ),
}
