"""Kinds of input that are named arrays."""

import argparse
from typing import TYPE_CHECKING

from dbmpi.errors import UserError
from dbmpi.prepare.kind import Kind, found_files

if TYPE_CHECKING:
    from dbmpi.prepare.source import Source


def _add_arrays(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files",
        metavar="FILE",
        nargs="+",
        help="several, or a pattern in quotes, are one set (npz: or a folder of .npy files)",
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
    parser.add_argument(
        "--channels-first", action=argparse.BooleanOptionalAction, help="images are (N, C, H, W), or not"
    )
    parser.add_argument("--rows-last", action="store_true", help="inputs are (..., N), as often in MATLAB")
    parser.add_argument("--flat", action="store_true", help="make (N, features) of inputs of any shape")


def _arrays(given: argparse.Namespace) -> "Source":
    from dbmpi.prepare.array_names import usual_names
    from dbmpi.prepare.arrays import ArraySource, Wanted

    files = found_files(given.files, folders=True)
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
    wanted = Wanted(
        names=found or usual_names(files[0]),
        groups=given.groups,
        channels_first=given.channels_first,
        rows_last=given.rows_last,
        flat=given.flat,
        task=given.task,
    )
    return ArraySource(files, wanted)


NPZ = Kind(
    "arrays of NumPy",
    "Names such as x_train and y_train, train_images and train_labels, x and y are found by themselves.",
    "mnist.npz mnist.h5",
    _add_arrays,
    _arrays,
)
MAT = Kind(
    "arrays of MATLAB",
    "Those of version 7.3 are read by h5py, older ones by SciPy.",
    "digits.mat digits.h5 --inputs X --targets y",
    _add_arrays,
    _arrays,
)
HDF5 = Kind(
    "data sets of any HDF5 file",
    "Names such as train/x and train/y, x_train and y_train, or x and y are found by themselves.",
    "own.h5 data.h5 --inputs images/pixels --targets images/label",
    _add_arrays,
    _arrays,
)
