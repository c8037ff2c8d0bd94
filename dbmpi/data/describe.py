"""What a data file holds, and whether it fits the model: found out before any role starts.

Groups `train` and `test`, in each a data set `x` of inputs and a data set `y` of integer labels or float
targets, as docs/data.md says; or what `[data]` names in a file of others (`data.fields`).
"""

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from dbmpi.data import sizes
from dbmpi.data.chance import BinaryChance, LabelChance, TargetChance
from dbmpi.data.cuts import cut
from dbmpi.data.factors import Factor, Scaling
from dbmpi.data.fields import Fields, View, found, plain, unused_validation
from dbmpi.data.recognize import labels_of
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
    train_rows, test_rows, validation_rows : int
        Numbers of examples; there may be none for validation.
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
    suiting : str
        The value of `data.scaling` that suits them.
    views : dict
        How each split is read, by its name.
    targets_from : str
        The data sets of the targets, for messages.
    test_fraction : float
        What was cut for test of the training set; 0 where the file has a test set.
    scaling : Scaling or None
        What the network sees in place of the file's scale and offset, and of its targets.
    binary : bool
        Whether targets are 0 or 1.
    means, variances : tuple of float
        Of the float targets in the training set.
    unlearned : tuple of int
        Labels that only rows for validation and test hold.
    few_values : tuple of float
        The values of float targets, if they are whole numbers and few.
    unused : str
        What the file calls rows for validation that are not used; empty if there are none.
    counts : tuple of int
        Training rows of each class from 0 on; nothing where there are too many classes to count.
    columns : tuple of str
        Names of features, where the file names them.
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
    suiting: sizes.Mode = "none"
    validation_rows: int = 0
    views: Mapping[str, View] = field(default_factory=dict)
    targets_from: str = "train/y and test/y"
    test_fraction: float = 0.0
    scaling: Scaling | None = None
    binary: bool = False
    means: tuple[float, ...] = ()
    variances: tuple[float, ...] = ()
    unlearned: tuple[int, ...] = ()
    few_values: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()
    unused: str = ""
    columns: tuple[str, ...] = ()

    def view(self, name: str) -> View:
        """Return how a split is read."""
        return self.views.get(name) or plain(name)

    @property
    def watched(self) -> str:
        """The split that evaluations during a run are of."""
        return "validation" if self.validation_rows else "test"

    def rows(self, name: str) -> int:
        """Return the number of examples of a split."""
        return int(getattr(self, f"{name}_rows"))

    @property
    def made(self) -> dict[str, str]:
        """What was made of the file, in short: a run that goes on must make the same labels and cuts."""
        train, short = self.view("train"), {}
        if train.labels is not None:
            short["labels"] = train.labels.digest
        if train.rows is not None:
            rows = [view.rows for _, view in sorted(self.views.items()) if view.rows is not None]
            content = b"".join(part.tobytes() for one in rows for part in (one.starts, one.stops))
            short["cut"] = hashlib.sha256(content).hexdigest()
        return short

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


def describe(path: str | Path, stand_in: bool = True, fields: Fields | None = None) -> Description:
    """Look a data file over, all labels or targets and a few rows included. Local.

    Parameters
    ----------
    path : str or Path
        As `data.path`: an HDF5 file, or "digits".
    stand_in : bool
        Whether nothing but shapes is needed, which does for a dry run.
    fields : Fields, optional
        What the configuration says of the file; without it, it is as docs/data.md says.

    Returns
    -------
    Description

    Raises
    ------
    UserError
        Anything is amiss; the text names file, data set, value and remedy.
    """
    fields = fields or Fields()
    views, fraction = _views(path, stand_in, fields)
    with ExitStack() as files:
        splits = {name: files.enter_context(Split(path, name, view=view)) for name, view in views.items()}
        chances = {name: _looked_over(one, splits["train"], stand_in) for name, one in splits.items()}
        return Description(
            train_rows=splits["train"].rows,
            test_rows=splits["test"].rows,
            validation_rows=splits["validation"].rows if "validation" in splits else 0,
            views=views,
            targets_from=" and ".join(dict.fromkeys(view.targets.strip("/") for view in views.values())),
            test_fraction=fraction,
            unused="" if "validation" in splits else unused_validation(path, fields),
            **_of_inputs(splits["train"]),
            **_of_answers(splits, chances),
            **_of_kind(chances["train"]),
        )


def _looked_over(split: Split, train: Split, stand_in: bool) -> Chance:
    """Check a split, all its labels or targets and a few rows; return what the answers are."""
    _check_alike(train, split)
    split.check_complete(stand_in)
    # The ends of the file: what is cut off or needs a missing filter shows here, not in the run.
    split.read([(0, 1), (split.rows - 1, split.rows)])
    return _scanned(split)


def _of_inputs(train: Split) -> dict[str, Any]:
    """Return what the training set says of inputs, by the names of the description."""
    return {
        "path": str(train.path),
        "input_shape": train.input_shape,
        "inputs": train.inputs,
        "dtype": train.dtype.name,
        "scale": train.scale,
        "offset": train.offset,
        "chunk_rows": train.chunk_rows,
        "columns": train.columns,
        "warnings": sizes.warnings(train),
        "suiting": sizes.suiting(train),
    }


def _of_answers(splits: Mapping[str, Split], chances: Mapping[str, Chance]) -> dict[str, Any]:
    """Return what is known of the labels or targets of all splits, by the names of the description."""
    train, of_train = splits["train"], chances["train"]
    learned = _labels([of_train])
    held_out = _labels([chance for name, chance in chances.items() if name != "train"])
    seen = np.union1d(learned, held_out)
    known = len(seen) and all(split.has_labels for split in splits.values())
    return {
        "classes": None if train.targets_width else int(seen[-1]) + 1,
        "targets": train.targets_width,
        "class_names": train.class_names,
        "chance": of_train.losses(),
        "distinct": len(seen) if known else None,
        "smallest": int(seen[0]) if len(seen) else 0,
        "binary": train.binary,
        "unlearned": tuple(np.setdiff1d(held_out, learned).tolist()),
    }


def _views(path: str | Path, stand_in: bool, fields: Fields) -> tuple[dict[str, View], float]:
    """Find out how each split is read, and what is cut for test: from names, from targets, then by cuts."""
    views = found(path, fields)
    if fields.convert:
        with ExitStack() as files:
            splits = [files.enter_context(Split(path, name, view=view)) for name, view in views.items()]
            for split in splits:
                split.check_complete(stand_in, inputs=False)
            labels = labels_of(splits, fields)
        views = {name: replace(view, labels=labels, undecided=False) for name, view in views.items()}
    return cut(path, views, fields, stand_in)


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
    view = description.view(split.name)
    for what, now, then in (
        ("rows", split.stored_rows, view.rows.of if view.rows is not None else description.rows(split.name)),
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


def _check_alike(train: Split, other: Split) -> None:
    """Refuse a split whose rows would mean something else than those of the train split."""
    for key, what, ours, theirs in (
        ("x", "the shape of an example is", train.input_shape, other.input_shape),
        ("x", "the type is", train.dtype.name, other.dtype.name),
        ("x", "the attribute scale is", train.scale, other.scale),
        ("x", "the attribute offset is", train.offset, other.offset),
        ("y", "the number of targets is", train.targets_width, other.targets_width),
        ("y", "integers or truth values in several columns are", train.binary, other.binary),
    ):
        if ours != theirs:
            raise UserError(
                f"{other.where(key)}: {what} {_brief(theirs)}, but {_brief(ours)} in train; write both "
                "splits in the same way"
            )


def _brief(value: object) -> str:
    """Return a value in a few words: a number for each input may be many."""
    text = str(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def _labels(chances: Sequence[Chance]) -> "np.ndarray":
    """Return the different labels of some splits, in order; none where there are targets."""
    seen = [one.seen for one in chances if isinstance(one, LabelChance)]
    return np.unique(np.concatenate([np.zeros(0, np.int64), *seen]))


def _of_kind(of_train: Chance) -> dict[str, Any]:
    """Return what is known of labels or targets of one kind, by the names of the description."""
    if isinstance(of_train, LabelChance):
        return {"counts": of_train.counts}
    if isinstance(of_train, TargetChance):
        moments = of_train.moments
        variances = tuple((moments.squares_C / max(moments.rows, 1)).tolist())
        few = tuple(sorted(of_train.few or ())) if of_train.few and len(of_train.few) > 1 else ()
        return {"means": tuple(moments.mean_C.tolist()), "variances": variances, "few_values": few}
    return {}


def _scanned(split: Split) -> Chance:
    """Check all labels or targets in reads of bounded size; return what they are."""
    chance: Chance = LabelChance()
    if split.targets_width:
        chance = BinaryChance() if split.binary else TargetChance()
    step, weighed = max(1, SCAN_VALUES // (split.targets_width or 1)), not split.has_labels
    for start in range(0, split.rows if split.has_labels else 1, step):
        rows = (start, min(start + step, split.rows))
        chance.add(split.labels_or_targets([rows]))
        weighed = weighed or any(one.any() for one in split.weights([rows]))
    if split.weighted and not weighed:
        raise UserError(f"{split.where('weights')} (data.weights) holds 0 in all rows; give some above 0")
    return chance
