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
    from dbmpi.prepare.table import TableFile


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
    """

    summary: str
    description: str
    example: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    source: Callable[[argparse.Namespace], "Source"]


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
        help="CSV or TSV, gzipped or not, or parquet; several, or a pattern in quotes, are one table",
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
    _add_jobs(parser)


def _table(given: argparse.Namespace) -> "Source":
    from dbmpi.prepare.table import TableSource, Wanted

    wanted = Wanted(
        given.target, given.task, given.drop, given.categorical, given.groups, given.split, given.missing
    )
    files = [_table_file(path, not given.no_header) for path in _files(given.files)]
    return TableSource(files, wanted, _jobs(given))


def _table_file(path: Path, header: bool) -> "TableFile":
    if path.suffix == ".parquet":
        with _extra("pyarrow"):
            from dbmpi.prepare.parquet import ParquetFile
        return ParquetFile(path)
    from dbmpi.prepare.delimited import DelimitedFile

    return DelimitedFile(path, header)


def _add_arrays(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files", metavar="FILE", nargs="+", help="several, or a pattern in quotes, are one set"
    )
    for split in ("", "validation-", "test-"):
        of = f" of the split {split[:-1]}" if split else ""
        parser.add_argument(f"--{split}inputs", metavar="NAME", help=f"array of the inputs{of}, (N, ...)")
        parser.add_argument(
            f"--{split}targets", metavar="NAME", help=f"array of the labels or targets{of}, (N,) or (N, T)"
        )
    parser.add_argument(
        "--task",
        choices=("classes", "one-hot", "members", "numbers"),
        help="what the targets are (by the first ones)",
    )
    parser.add_argument("--groups", metavar="NAME", help="array (N,): rows of one value stay in one split")
    parser.add_argument("--channels-first", action="store_true", help="images are (N, C, H, W)")


def _arrays(given: argparse.Namespace) -> "Source":
    from dbmpi.prepare.arrays import ArraySource, Wanted, usual_names

    files = _files(given.files)
    options = vars(given)
    named = {
        split: (options[f"{prefix}inputs"], options[f"{prefix}targets"])
        for split, prefix in (("train", ""), ("validation", "validation_"), ("test", "test_"))
    }
    for split, names in named.items():
        if (names[0] is None) != (names[1] is None):
            raise UserError(
                f"--inputs and --targets belong together: one of them is missing for the split {split}"
            )
    found = {split: pair for split, pair in named.items() if pair[0]}
    if found and "train" not in found:
        raise UserError("--inputs and --targets, of the training rows, are missing")
    return ArraySource(
        files, Wanted(found or usual_names(files[0]), given.groups, given.channels_first, given.task)
    )


def _add_speech(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files",
        metavar="DIR",
        type=Path,
        help="folder of WAV files, or a CSV with the columns path, label, split, group",
    )
    parser.add_argument(
        "--names",
        metavar="PATTERN",
        help="of the files, as '{label}_{group}_{}': {} is any text; those of one group stay in one split",
    )
    parser.add_argument(
        "--test-names", metavar="PATTERN", help="of the files of the split test, as '*_[0-4]'"
    )
    parser.add_argument(
        "--frame-labels",
        metavar="DIR",
        type=Path,
        help="folder of NAME.txt for each NAME.wav: a label for each frame",
    )
    parser.add_argument(
        "--states",
        metavar="N",
        type=int,
        default=1,
        help="parts of a recording that are classes of their own (1)",
    )
    parser.add_argument(
        "--context", metavar="N", type=int, default=5, help="frames on either side that are inputs too (5)"
    )
    _add_jobs(parser)


def _speech(given: argparse.Namespace) -> "Source":
    from dbmpi.prepare.recordings import by_names, by_table
    from dbmpi.prepare.speech import SpeechSource

    if given.files.is_file():
        recordings = by_table(given.files)
    else:
        recordings = by_names(given.files, given.names, given.test_names)
    return SpeechSource(
        recordings, given.context, given.states, given.frame_labels, _jobs(given), [given.files]
    )


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
    parser.add_argument("--jobs", metavar="N", type=int, help="processes that read (one for each core)")


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
        "a table of numbers and texts (CSV, TSV, parquet)",
        "Columns of texts become a 0 or 1 for each text. The target is a class where it has texts or few\n"
        "different integers, else a number.",
        "diamonds.csv diamonds.h5 --target price",
        _add_table,
        _table,
    ),
    "speech": Kind(
        "recordings of speech (WAV), a label for each or for each frame",
        "Frames of 25 ms every 10 ms, 40 log mel energies each; with 5 frames on either side 440 inputs.\n"
        "All frames of a recording are in one split.",
        "recordings/ digits.h5 --names '{label}_{}_{}' --test-names '*_[0-4]' --states 3",
        _add_speech,
        _speech,
    ),
    "npz": Kind(
        "arrays of NumPy",
        "Names such as x_train and y_train, train_images and train_labels, x and y are found by themselves.",
        "mnist.npz mnist.h5",
        _add_arrays,
        _arrays,
    ),
    "mat": Kind(
        "arrays of MATLAB",
        "Those of version 7.3 are read by h5py, older ones by SciPy.",
        "digits.mat digits.h5 --inputs X --targets y",
        _add_arrays,
        _arrays,
    ),
    "hdf5": Kind(
        "data sets of any HDF5 file",
        "Names such as train/x and train/y, x_train and y_train, or x and y are found by themselves.",
        "own.h5 data.h5 --inputs images/pixels --targets images/label",
        _add_arrays,
        _arrays,
    ),
}
