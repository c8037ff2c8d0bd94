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

__all__ = ["Description", "Split", "check_fits", "check_whole", "describe"]

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
        (largest, chance), (largest_of_test, _) = _scanned(train), _scanned(test)
        return Description(
            path=str(train.path),
            train_rows=train.rows,
            test_rows=test.rows,
            input_shape=train.input_shape,
            inputs=train.inputs,
            classes=None if train.targets_width else int(max(largest, largest_of_test)) + 1,
            targets=train.targets_width,
            dtype=train.dtype.name,
            scale=train.scale,
            offset=train.offset,
            chunk_rows=train.chunk_rows,
            class_names=train.class_names,
            chance=chance,
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


def check_fits(description: Description, outputs: int, loss: str) -> None:
    """Raise UserError unless the labels or targets suit the output layer and the loss. Local.

    Parameters
    ----------
    description : Description
    outputs : int
        Units of the last layer.
    loss : {"softmax", "logistic", "squared"}
        Integer labels suit all three (the latter two compare with 1 at the label's unit and 0 elsewhere),
        float targets "squared" alone.

    Raises
    ------
    UserError
        They do not; the text names both numbers and the remedy.
    """
    where = f"{description.path}: train/y and test/y"
    if description.targets is not None and loss != "squared":
        raise UserError(
            f'{where} hold float targets, but model.loss = "{loss}" needs integer labels; '
            "store y.astype('int64'), or set model.loss = \"squared\""
        )
    if description.targets is not None and description.targets != outputs:
        raise UserError(
            f"{where} hold {description.targets} targets for each example, but the last layer has {outputs} "
            f"units (model.layers); give it {description.targets}"
        )
    if description.classes is not None and description.classes > outputs:
        raise UserError(
            f"{where} hold labels up to {description.classes - 1}, but the last layer has {outputs} "
            f"units (model.layers), for labels up to {outputs - 1}; labels count from 0: subtract 1 if yours "
            f"begin at 1, or give it {description.classes}"
        )
    names = description.class_names
    if names is not None and len(names) != outputs:
        raise UserError(
            f"{description.path}: the attribute class_names of train/y has {len(names)} names, but the last "
            f"layer has {outputs} units (model.layers): give it {len(names)}, or write a name for each unit"
        )


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


def _scanned(split: Split) -> tuple[float, dict[str, float]]:
    """Check all labels or targets in reads of bounded size; return the largest, and the losses of chance."""
    largest, chance = -np.inf, TargetChance() if split.targets_width else LabelChance()
    step = max(1, SCAN_VALUES // (split.targets_width or 1))
    for start in range(0, split.rows if split.has_labels else 1, step):
        rows = (start, min(start + step, split.rows))
        values = split.labels_or_targets([rows])
        largest = max(largest, float(values.max()))
        chance.add(values)
    return largest, chance.losses()
