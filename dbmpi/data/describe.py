"""What a data file holds, and whether it fits the model: found out before any role starts.

The format is that of docs/data.md: groups `train` and `test`, in each a data set `x` of inputs and a data set
`y` of integer labels or float targets.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dbmpi.data import sizes
from dbmpi.data.chance import LabelChance, TargetChance
from dbmpi.data.split import Split
from dbmpi.errors import UserError

__all__ = ["Description", "Split", "check_whole", "describe"]

SCAN_VALUES = 1 << 20  # labels or targets looked at in one read


@dataclass(frozen=True)
class Description:
    """What the rest of the program needs to know of a data file.

    Attributes
    ----------
    path : str
        The file itself; never "digits".
    train_rows, test_rows : int
        Numbers of examples.
    input_shape : tuple of int
        Shape of one example: (features,), (H, W) or (H, W, C).
    inputs : int
        Number of input columns, the product of `input_shape`.
    classes : int or None
        Largest integer label + 1; None for float targets.
    targets : int or None
        Number of float targets of an example; None for integer labels.
    dtype : str
        What a reader gives: "uint8", "float32" or "float64".
    scale, offset : float
        The value of an input is scale * stored + offset.
    chunk_rows : int or None
        Rows in a chunk of `train/x`, None where it is not chunked.
    class_names : tuple of str or None
        Of the classes in order, where the file names them.
    chance : dict
        By the name of a loss: that of the best answer which is the same for every example of the training
        set. Without those that the labels or targets do not suit, or for which it is not known.
    distinct, smallest : int or None, int
        How many different labels both splits hold, None where that is not known, or for float targets; and
        the smallest of them.
    warnings : tuple of str
        What is wrong with the sizes of inputs and targets (`data.sizes`).
    """

    path: str
    train_rows: int
    test_rows: int
    input_shape: tuple[int, ...]
    inputs: int
    classes: int | None
    targets: int | None
    dtype: str
    scale: float
    offset: float
    chunk_rows: int | None
    class_names: tuple[str, ...] | None = None
    chance: Mapping[str, float] = field(default_factory=dict)
    distinct: int | None = None
    smallest: int = 0
    warnings: tuple[str, ...] = ()


def describe(path: str | Path, stand_in: bool = True) -> Description:
    """Look a data file over, all labels or targets and a few rows included. Local.

    Parameters
    ----------
    path : str or Path
        As `data.path`: an HDF5 file, or "digits".
    stand_in : bool
        Whether nothing but shapes is needed, which does for a dry run.

    Returns
    -------
    Description

    Raises
    ------
    UserError
        Anything is amiss; the text names file, data set, value and remedy.
    """
    with Split(path, "train") as train, Split(path, "test") as test:
        _check_alike(train, test)
        for split in (train, test):
            split.check_complete(stand_in)
            # The ends of the file: what is cut off or needs a missing filter shows here, not in the run.
            split.read([(0, 1), (split.rows - 1, split.rows)])
        found, of_test = _scanned(train), _scanned(test)
        seen = np.union1d(found.seen, of_test.seen)
        return Description(
            path=str(train.path),
            train_rows=train.rows,
            test_rows=test.rows,
            input_shape=train.input_shape,
            inputs=train.inputs,
            classes=None if train.targets_width else int(seen[-1]) + 1,
            targets=train.targets_width,
            dtype=train.dtype.name,
            scale=train.scale,
            offset=train.offset,
            chunk_rows=train.chunk_rows,
            class_names=train.class_names,
            chance=found.losses(),
            distinct=len(seen) if len(seen) and train.has_labels and test.has_labels else None,
            smallest=int(seen[0]) if len(seen) else 0,
            warnings=sizes.warnings(train),
        )


def check_whole(split: Split, description: Description) -> None:
    """Raise UserError unless a split holds all its rows, and is the one that was described. Local.

    Each rank opens the file for itself, and may come to another one, for instance on a disk of its host.

    Parameters
    ----------
    split : Split
        As this rank sees it.
    description : Description
        As rank 0 saw it before the run began.

    Raises
    ------
    UserError
    """
    rows = description.train_rows if split.name == "train" else description.test_rows
    for what, now, then in (
        ("rows", split.rows, rows),
        ("inputs of shape", split.input_shape, description.input_shape),
        ("targets", split.targets_width, description.targets),
        ("type", split.dtype.name, description.dtype),
        ("scale", split.scale, description.scale),
        ("offset", split.offset, description.offset),
    ):
        if now != then:
            raise UserError(
                f"{split.path}: {split.name} has {what} {now} here, but {then} when the run began; leave the "
                "file alone while a run reads it, and put the same file on every host"
            )
    split.check_complete(stand_in=False)


def _check_alike(train: Split, test: Split) -> None:
    """Refuse a test split whose rows would mean something else than those of the train split."""
    for what, ours, theirs in (
        ("x: the shape of an example is", train.input_shape, test.input_shape),
        ("x: the type is", train.dtype.name, test.dtype.name),
        ("x: the attribute scale is", train.scale, test.scale),
        ("x: the attribute offset is", train.offset, test.offset),
        ("y: the number of float targets is", train.targets_width, test.targets_width),
    ):
        if ours != theirs:
            raise UserError(
                f"{train.path}: test/{what} {theirs}, but {ours} in train; write both splits in the same way"
            )


def _scanned(split: Split) -> TargetChance | LabelChance:
    """Check all labels or targets in reads of bounded size; return what they are."""
    chance = TargetChance() if split.targets_width else LabelChance()
    step = max(1, SCAN_VALUES // (split.targets_width or 1))
    for start in range(0, split.rows if split.has_labels else 1, step):
        rows = (start, min(start + step, split.rows))
        chance.add(split.labels_or_targets([rows]))
    return chance
