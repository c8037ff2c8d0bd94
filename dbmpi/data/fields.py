"""Where the inputs and targets of each split lie in a file, whoever wrote it: the keys of `[data]`.

A name of `[data]` leads to a data set in the group of each split, to one of the file itself where it has no
group `train`, or, as a path, to one of the file: these are the training set then. `{split}` in it stands for
the name of each split. Local.
"""

from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import h5py

from dbmpi.config.schema import Auto
from dbmpi.config.sections import Config
from dbmpi.data import digits
from dbmpi.data.hdf5 import FORMAT, explain_errors, names, opened
from dbmpi.data.labels import Labels
from dbmpi.data.sources import Sources
from dbmpi.data.stretches import Stretches
from dbmpi.errors import UserError
from dbmpi.text import show

SPLITS = "train", "validation", "test"
PLACE = "{split}"
VALIDATION_WORDS = "val", "valid", "dev"  # for validation, in files of others
CUT = 0.1  # for test, of the training set, where the file has none and nothing is said


@dataclass(frozen=True)
class Fields:
    """How a file is read, as configured; by itself, as the format of docs/data.md says, and nothing else.

    Parameters
    ----------
    inputs, targets, groups, weights
        `data.inputs`, `data.targets`, `data.groups`, `data.weights`.
    channels_first
        Whether images are (N, C, H, W).
    labels
        `data.labels`.
    convert
        Whether labels are made of targets of other types at all.
    name_of_validation
        `data.validation`.
    units, loss
        Of the last layer, None where they follow from the data, and `model.loss`: they decide what is made of
        doubtful targets.
    test, validation, seed
        `data.test_fraction`, `data.validation_fraction`, `data.cut_seed`.
    """

    inputs: str = "x"
    targets: str = "y"
    channels_first: bool = False
    labels: Literal["auto", "stored", "classes"] = "stored"
    units: int | None = None
    loss: str = "softmax"
    test: float | Auto = 0.0
    validation: float = 0.0
    seed: int = 1
    groups: str | None = None
    weights: str | None = None
    convert: bool = False
    name_of_validation: str = "validation"

    def named(self, split: str) -> str:
        """Return what the file calls a split."""
        return self.name_of_validation if split == "validation" else split


@dataclass(frozen=True)
class View:
    """How one split is read.

    Parameters
    ----------
    inputs, targets
        Paths of the data sets in the file; that of the targets is empty where they are not wanted.
    channels_first
        Whether images are (N, C, H, W) there.
    labels
        What makes labels of the targets; None where they are integers or floats as they are.
    undecided
        Whether that is still to be found out: targets of any type are let pass.
    rows
        Which rows of the data sets are this split's; None for all.
    weights
        Path of the weights of all rows; only the training set may have them.
    """

    inputs: str
    targets: str
    channels_first: bool = False
    labels: Labels | None = None
    undecided: bool = False
    rows: Stretches | None = None
    weights: str | None = None


def plain(name: str) -> View:
    """Return how a split of the format of docs/data.md is read."""
    return View(f"{name}/x", f"{name}/y")


def fields_of(config: Config) -> Fields:
    """Return what a configuration says of its file."""
    data, last = config.data, config.model.layers[-1]
    units = getattr(last, "units", None)
    units = units if isinstance(units, int) else None
    return Fields(
        data.inputs,
        data.targets,
        data.layout == "channels_first",
        data.labels,
        units,
        config.model.loss,
        data.test_fraction,
        data.validation_fraction,
        data.cut_seed,
        data.groups,
        data.weights,
        convert=True,
        name_of_validation=data.validation,
    )


def found(path: str | Path, fields: Fields) -> dict[str, View]:
    """Return how the splits are read that a file has, by name; `train` always. Local.

    Raises
    ------
    UserError
        The file cannot be opened, or has only one of the two data sets of a split.
    """
    with Opening(path) as (file, sources), explain_errors(f"{file.filename}: the file"):
        views = {}
        for split in SPLITS:
            view = _view(file, fields, split)
            if split == "train" or (view is not None and _is_there(view, file, sources, split)):
                views[split] = view or View(f"train/{fields.inputs}", f"train/{fields.targets}")
        # In the format of docs/data.md a missing test set is a mistake, in a file of others the rule.
        cut = not _has(file, "train") if fields.test == "auto" else fields.test
        train = views["train"]
        if fields.weights is not None:
            views["train"] = replace(train, weights=_beside(file, train, fields.weights))
        there = sources.leads(train.inputs) and sources.leads(train.targets)
        if there and "test" not in views and not cut:
            raise UserError(
                f"{file.filename}: has no group 'test', only {names(file)}; set data.test_fraction, for "
                f"instance {CUT:g}, to cut rows of the training set; {FORMAT}"
            )
        return views


def _view(file: h5py.File, fields: Fields, split: str) -> View | None:
    """Return how a split would be read; None where the names stand for none."""
    word = fields.named(split)
    inputs, targets = (_place(file, name, word) for name in (fields.inputs, fields.targets))
    if inputs is None and targets is None:
        return None
    if inputs is None or targets is None:
        one, other = ("inputs", "targets") if inputs else ("targets", "inputs")
        given = [show(getattr(fields, key)) for key in (one, other)]
        raise UserError(
            f"{file.filename}: data.{one} = {given[0]} is found for {split}, but data.{other} = {given[1]} "
            f'is not; give both as names in groups, as paths ("/y"), or with {PLACE} for the split'
        )
    return View(inputs, targets, fields.channels_first, undecided=fields.convert)


def _is_there(view: View, file: h5py.File, sources: Sources, split: str) -> bool:
    """Return whether a file has a split: one of its data sets, or a group `test`, which must have both."""
    return (split == "test" and _has(file, split)) or any(map(sources.leads, (view.inputs, view.targets)))


def chosen(path: str | Path, fields: Fields, split: str | None, targets: bool) -> tuple[str, View]:
    """Return which rows of a file are read where nothing is learned or cut, and how. Local.

    Parameters
    ----------
    split
        One of the file's groups; None: "test" of a file that has groups, and "all" rows of another.
    targets
        Whether targets are wanted.

    Raises
    ------
    UserError
        There is no such split or data set.
    """
    with Opening(path) as (file, sources), explain_errors(f"{file.filename}: the file"):
        there = [one for one in SPLITS if _has(file, one)]
        grouped = bool(there) and not fields.inputs.startswith("/") or PLACE in fields.inputs
        if split is not None and not grouped:
            raise UserError(f"{file.filename}: has no splits, only {names(file)}; leave --split out")
        name = split or ("test" if grouped else "all")
        if grouped and PLACE not in fields.inputs and name not in there:
            raise UserError(
                f"{file.filename}: has no group {name!r}, only {names(file)}; choose one by --split, or data "
                "sets by --inputs and --targets"
            )
        places = [_of_split(one, name, grouped) for one in (fields.inputs, fields.targets)]
        for option, place in zip(("inputs", "targets"), places[: 1 + targets], strict=False):
            if not sources.leads(place):
                raise UserError(
                    f"{file.filename}: has no data set {place.strip('/')!r}, only {names(file)} (python -m "
                    f"dbmpi.data FILE shows all); name it by --{option}"
                )
        return name, View(places[0], places[1] if targets else "", fields.channels_first, undecided=targets)


def _of_split(name: str, split: str, grouped: bool) -> str:
    """Return the path of a data set by its name in a file with or without groups."""
    if PLACE in name:
        return name.replace(PLACE, split)
    return f"{split}/{name}" if grouped and not name.startswith("/") else name


def unused_validation(path: str | Path, fields: Fields) -> str:
    """Return what a file calls a split that would be for validation, if only it were named; else nothing."""
    with Opening(path) as (file, sources), suppress(UserError):  # of a link that leads nowhere
        for word in VALIDATION_WORDS:
            places = [_place(file, name, word) for name in (fields.inputs, fields.targets)]
            if all(place is not None and sources.leads(place) for place in places):
                return word
    return ""


class Opening:
    """A file that is only looked at: `with Opening(path) as (file, sources)`. Local; raises UserError."""

    def __init__(self, path: str | Path) -> None:
        self._path, self._files = digits.located(path), ExitStack()

    def __enter__(self) -> tuple[h5py.File, Sources]:
        file = self._files.enter_context(opened(self._path))
        return file, Sources(self._path, file, self._files)

    def __exit__(self, *exc: object) -> None:
        with explain_errors(f"{self._path}: the file"):
            self._files.close()


def _place(file: h5py.File, name: str, split: str) -> str | None:
    """Return the path that a name of `[data]` stands for in a split; None where it stands for none."""
    if PLACE in name:
        return name.replace(PLACE, split)
    if name.startswith("/"):
        return name if split == "train" else None
    if _has(file, split):
        return f"{split}/{name}"
    return name if split == "train" and _has(file, name.split("/")[0]) else None


def _beside(file: h5py.File, train: View, name: str) -> str:
    """Return the path of a data set of the training set: by its name, else beside the targets."""
    beside = f"{train.targets.strip('/').rpartition('/')[0]}/{name}".lstrip("/")
    return _place(file, name, "train") or beside


def _has(file: h5py.File, name: str) -> bool:
    """Return whether a file has something of this name, be it a link that leads nowhere."""
    return file.get(name, getlink=True) is not None
