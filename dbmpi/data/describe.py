"""What a data file holds, and whether it fits the model: found out before any role starts.

The format is that of docs/data.md: groups `train` and `test`, in each a data set `x` of inputs and a data set
`y` of integer labels or float targets.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from dbmpi.data import sizes
from dbmpi.data.chance import BinaryChance, LabelChance, TargetChance
from dbmpi.data.factors import Factor, Scaling
from dbmpi.data.split import Split
from dbmpi.errors import UserError
from dbmpi.text import SHOWN

__all__ = ["Description", "Split", "check_whole", "describe"]

Chance: TypeAlias = LabelChance | BinaryChance | TargetChance
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
        Largest integer label + 1; None for targets.
    targets : int or None
        Number of targets of an example, floats or `binary`; None for integer labels.
    dtype : str
        What a reader gives: "uint8", "float32" or "float64".
    scale, offset : float or tuple of floats, one for each input
        The value of an input is scale * stored + offset, as the file says.
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
        What is wrong with the sizes of inputs and targets (`data.sizes`), where they are not scaled.
    scaling : Scaling or None
        What the network sees in place of the file's scale and offset, and of its targets.
    binary, one_hot : bool
        Whether targets are 0 or 1, and whether in addition each row has exactly one 1.
    means, variances : tuple of float
        Of the float targets in the training set.
    unlearned : tuple of int
        Labels that only the test set holds.
    few_values : tuple of float
        The values of float targets, if they are whole numbers and few.
    counts : tuple of int
        Training rows of each class from 0 on; nothing where there are too many classes to count.
    """

    path: str
    train_rows: int
    test_rows: int
    input_shape: tuple[int, ...]
    inputs: int
    classes: int | None
    targets: int | None
    dtype: str
    scale: Factor
    offset: Factor
    chunk_rows: int | None
    class_names: tuple[str, ...] | None = None
    chance: Mapping[str, float] = field(default_factory=dict)
    distinct: int | None = None
    smallest: int = 0
    warnings: tuple[str, ...] = ()
    scaling: Scaling | None = None
    binary: bool = False
    one_hot: bool = False
    means: tuple[float, ...] = ()
    variances: tuple[float, ...] = ()
    unlearned: tuple[int, ...] = ()
    few_values: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()

    @property
    def of_inputs(self) -> tuple[Factor, Factor]:
        """Scale and offset that make what the network sees of the inputs as stored."""
        return (self.scale, self.offset) if self.scaling is None else self.scaling.of_inputs

    def scaled(self, scaling: Scaling | None) -> "Description":
        """Return it with what scales inputs and targets, and with the loss of chance that follows."""
        chance = self.chance
        if scaling is not None and scaling.target_scale:
            pairs = zip(self.variances, scaling.target_scale, strict=True)
            chance = {"squared": 0.5 * sum(variance * scale**2 for variance, scale in pairs)}
        return replace(self, scaling=scaling, chance=chance)


def describe(path: str | Path, stand_in: bool = True, weights: str | None = None) -> Description:
    """Look a data file over, all labels or targets and a few rows included. Local.

    Parameters
    ----------
    path : str or Path
        As `data.path`: an HDF5 file, or "digits".
    stand_in : bool
        Whether nothing but shapes is needed, which does for a dry run.
    weights : str, optional
        As `data.weights`.

    Returns
    -------
    Description

    Raises
    ------
    UserError
        Anything is amiss; the text names file, data set, value and remedy.
    """
    with Split(path, "train", weights=weights) as train, Split(path, "test") as test:
        _check_alike(train, test)
        for split in (train, test):
            split.check_complete(stand_in)
            # The ends of the file: what is cut off or needs a missing filter shows here, not in the run.
            split.read([(0, 1), (split.rows - 1, split.rows)])
        found, of_test = _scanned(train), _scanned(test)
        seen = np.union1d(_labels(found), _labels(of_test))
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
            binary=train.binary,
            unlearned=tuple(np.setdiff1d(_labels(of_test), _labels(found)).tolist()),
            **_of_kind(found, of_test),
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
        ("targets of 0 and 1", split.binary, description.binary),
        ("type", split.dtype.name, description.dtype),
        ("scale", split.scale, description.scale),
        ("offset", split.offset, description.offset),
    ):
        if now != then:
            raise UserError(
                f"{split.path}: {split.name} has {what} {_brief(now)} here, but {_brief(then)} when the run "
                "began; leave the "
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
        ("y: the number of targets is", train.targets_width, test.targets_width),
        ("y: integers or truth values in several columns are", train.binary, test.binary),
    ):
        if ours != theirs:
            raise UserError(
                f"{train.path}: test/{what} {_brief(theirs)}, but {_brief(ours)} in train; write both splits "
                "in the same way"
            )


def _brief(value: object) -> str:
    """Return a value in a few words: a number for each input may be many."""
    text = str(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def _labels(found: Chance) -> "np.ndarray":
    """Return the different labels, in order; none where there are targets."""
    return found.seen if isinstance(found, LabelChance) else np.zeros(0, np.int64)


def _of_kind(found: Chance, of_test: Chance) -> dict[str, Any]:
    """Return what is known of labels or targets of one kind, by the names of the description."""
    if isinstance(found, LabelChance):
        return {"counts": found.counts}
    if isinstance(found, BinaryChance) and isinstance(of_test, BinaryChance):
        return {"one_hot": found.one_hot and of_test.one_hot}
    if isinstance(found, TargetChance):
        moments = found.moments
        variances = tuple((moments.squares_C / max(moments.rows, 1)).tolist())
        few = tuple(sorted(found.few or ())) if found.few and len(found.few) > 1 else ()
        return {"means": tuple(moments.mean_C.tolist()), "variances": variances, "few_values": few}
    return {}


def _scanned(split: Split) -> Chance:
    """Check all labels or targets in reads of bounded size; return what they are."""
    chance: Chance = LabelChance()
    if split.targets_width:
        chance = BinaryChance() if split.binary else TargetChance()
    step = max(1, SCAN_VALUES // (split.targets_width or 1))
    for start in range(0, split.rows if split.has_labels else 1, step):
        rows = (start, min(start + step, split.rows))
        chance.add(split.labels_or_targets([rows]))
        split.weights([rows])
    return chance
