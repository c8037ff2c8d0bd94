"""Which rows a model is asked about: found out, and compared with what it takes, before all else."""

import zipfile
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from dbmpi.data import digits
from dbmpi.data.describe import describe
from dbmpi.data.fields import Fields, chosen, fields_of
from dbmpi.data.hdf5 import explain_errors
from dbmpi.data.labels import Labels, as_bytes, is_text
from dbmpi.data.split import Split
from dbmpi.errors import UserError
from dbmpi.files import working_directory
from dbmpi.inference.rows import check_shape
from dbmpi.inference.sources import Source, StoredSource, array_source
from dbmpi.inference.tables import table_source
from dbmpi.text import several
from dbmpi.trained.model import TrainedModel

UNKNOWN = "those that the model tells apart"
TABLES = ".csv", ".tsv", ".txt", ".gz"


@dataclass(frozen=True)
class Wanted:
    """What the command line says of data.

    Attributes
    ----------
    data
        A file; None: that of the model's configuration, or its data set "digits".
    split
        Which split of it; None: test, where it has splits.
    inputs, targets
        Names of data sets, arrays or columns; None: as the configuration has them.
    header
        Whether a table begins with the names of its columns; None: it must look so.
    """

    data: str | None = None
    split: str | None = None
    inputs: str | None = None
    targets: str | None = None
    header: bool | None = None


def labelled(trained: TrainedModel, wanted: Wanted) -> Source:
    """Choose rows with labels or targets. Raises UserError where they are not for this model."""
    if wanted.data is None or _is_own(trained, wanted):
        return _own(trained, wanted)
    path = _file(wanted.data)
    with explain_errors(f"{path}: the file"):
        stored = h5py.is_hdf5(path)
    if not stored:
        _check_table(path, wanted, "is not HDF5, nor does")
        return table_source(path, trained, wanted.inputs, wanted.header, wanted.targets or "")
    source = _stored(trained, wanted, path, targets=True)
    with Split(path, source.split, view=source.view) as split:
        labels = labels_of(trained, *split.stored_targets_type, split.where("y"))
        split.convert(labels)
        _check_targets(trained, split)
        split.check_complete(stand_in=False)
        view = replace(source.view, labels=labels, undecided=False)
    return StoredSource(path, source.split, view, trained.network.outputs)


def unlabelled(trained: TrainedModel, wanted: Wanted) -> Source:
    """Choose rows of inputs alone, of any kind of file. Raises UserError as `labelled`."""
    assert wanted.data is not None
    path = _file(wanted.data)
    if wanted.split is not None and _is_own(trained, wanted):
        source = _own(trained, wanted)
        return replace(source, view=replace(source.view, targets="", labels=None))
    with explain_errors(f"{path}: the file"):
        if h5py.is_hdf5(path):
            return _stored(trained, wanted, path, targets=False)
        arrays = zipfile.is_zipfile(path)
    if arrays:
        _check_unsplit(path, wanted)
        return array_source(path, trained, wanted.inputs)
    _check_table(path, wanted, "is neither HDF5 nor npz, nor does")
    return table_source(path, trained, wanted.inputs, wanted.header)


def _check_table(path: Path, wanted: Wanted, is_not: str) -> None:
    """Raise UserError for a file that is not called like a table, or of which a split is wanted."""
    _check_unsplit(path, wanted)
    if path.suffix not in TABLES:
        raise UserError(
            f"{path}: {is_not} its name end with {', '.join(TABLES)}; python -m dbmpi.prepare makes HDF5 of "
            "files of others"
        )


def _check_unsplit(path: Path, wanted: Wanted) -> None:
    if wanted.split is not None:
        raise UserError(f"{path}: is no HDF5 file, and so has no splits; leave out --split {wanted.split}")


def _file(data: str) -> Path:
    """Return the file that is meant. Raises UserError where there is none."""
    path, there = _located(data)
    if not there and path.is_dir():
        raise UserError(f"{path}: is a directory; python -m dbmpi.prepare makes a data file of what is there")
    if not there:
        where = working_directory()
        raise UserError(f"{path}: there is no such file (the working directory is {where}); name a data file")
    return path


def _located(data: str) -> tuple[Path, bool]:
    """Return the file that is meant, and whether it is there. Raises UserError where nobody can tell."""
    with explain_errors(f"{data}: the file"):
        path = digits.located(data)
        return path, path.is_file()


def _is_own(trained: TrainedModel, wanted: Wanted) -> bool:
    """Return whether a file is that of the configuration, whose cuts hold then."""
    if wanted.inputs is not None or wanted.targets is not None:
        return False
    with suppress(UserError):  # what may not be looked at here is another one
        (path, there), (own, own_there) = _located(wanted.data or ""), _located(trained.config.data.path)
        return there and own_there and path.samefile(own)
    return False


def _own(trained: TrainedModel, wanted: Wanted) -> StoredSource:
    """Choose a split of the file that the model has learned from, or that was cut of it."""
    config, (own, there) = trained.config, _located(trained.config.data.path)
    if not there:
        raise UserError(
            f"{own}: the data that {trained.path} was tested on are not there (data.path; the working "
            f"directory is {working_directory()}); name a data file: MODEL DATA.h5"
        )
    data = describe(config.data.path, stand_in=False, fields=fields_of(config))
    name = wanted.split or "test"
    if not data.rows(name):
        raise UserError(f"{data.path}: has no rows for {name}; choose another split by --split")
    view = replace(data.view(name), weights=None)
    with Split(data.path, name, view=view) as split:
        _check_inputs(trained, split)
        _check_targets(trained, split)
    return StoredSource(Path(data.path), name, view, trained.network.outputs)


def _stored(trained: TrainedModel, wanted: Wanted, path: Path, targets: bool) -> StoredSource:
    """Choose data sets of an HDF5 file, and look at their inputs."""
    data = trained.config.data
    inputs, labels = wanted.inputs or data.inputs, wanted.targets or data.targets
    fields = Fields(_absolute(wanted.inputs, inputs), _absolute(wanted.targets, labels),
                    data.layout == "channels_first")  # fmt: skip
    name, view = chosen(path, fields, wanted.split, targets)
    with Split(path, name, view=view) as split:
        _check_inputs(trained, split)
        split.check_complete(stand_in=False)
    return StoredSource(path, name, view, trained.network.outputs)


def _absolute(given: str | None, name: str) -> str:
    """Return a name as it is read: one of an option that has groups in it is a path of the file."""
    return f"/{name.lstrip('/')}" if given is not None and "/" in name else name


def _check_inputs(trained: TrainedModel, split: Split) -> None:
    """Raise UserError unless inputs are of the shape and on the scale that the model has learned from."""
    form, where = trained.format, split.where("x")
    check_shape((split.rows, *split.input_shape), tuple(form.input_shape), where)
    if split.input_shape != tuple(form.input_shape):
        raise UserError(
            f"{where}: has examples of shape {split.input_shape}, but the model reads "
            f"{tuple(form.input_shape)}: reshape them when you write the file"
        )
    if trained.config.data.scaling != "none":
        same = (split.dtype == np.uint8) == (form.input_dtype == "uint8")
    else:
        pairs = zip((split.scale, split.offset), form.of_inputs, strict=True)
        same = all(np.allclose(mine, theirs, rtol=1e-6, atol=0) for mine, theirs in pairs)
    if not same:
        raise UserError(
            f"{where}: is {split.dtype} with scale {_brief(split.scale)} and offset {_brief(split.offset)}, "
            f"but the model has learned from {form.input_dtype} with {_brief(form.of_inputs[0])} and "
            f"{_brief(form.of_inputs[1])}: write it as its data file was written"
        )


def _brief(value: float | tuple[float, ...]) -> str:
    """Return a factor in a few words."""
    return f"{value:.6g}" if isinstance(value, float) else f"{value[0]:.6g}, ... ({len(value)} numbers)"


def labels_of(
    trained: TrainedModel, kind: "np.dtype[Any]", shape: tuple[int, ...], where: str
) -> Labels | None:
    """Return what makes labels of targets: the same as when the model learned. None: they are labels.

    Parameters
    ----------
    kind, shape
        Of the targets as stored, and of those of one row.
    where
        What messages call them.

    Raises
    ------
    UserError
        They are none of the classes of the model.
    """
    if trained.format.outputs != "classes":
        return None
    width = int(np.prod(shape, dtype=np.int64))
    names = tuple(trained.format.class_names)
    if is_text(kind) and width == 1:
        return _of_names(as_bytes(np.array([one.encode() for one in names])), names, where)
    if width > 1 or kind.kind == "b":
        return Labels()
    if kind.kind in "iu" and trained.config.data.labels == "classes":
        return _of_names(_whole(names, where), names, where)
    return Labels() if shape and kind.kind in "iu" else None


def _of_names(values: "np.ndarray", names: tuple[str, ...], where: str) -> Labels:
    """Return the labels of classes by their names."""
    if not names:
        raise UserError(f"{where}: holds texts, but the classes of the model have no names")
    order = np.argsort(values)
    return Labels(values[order], order, names, UNKNOWN)


def _whole(names: tuple[str, ...], where: str) -> "np.ndarray":
    """Return names that are whole numbers as such."""
    try:
        return np.array([int(name) for name in names], np.int64)
    except ValueError:
        raise UserError(
            f"{where}: holds integers, but the model names its classes by texts: store those"
        ) from None


def _check_targets(trained: TrainedModel, split: Split) -> None:
    """Raise UserError unless labels or targets are what the model computes."""
    outputs, width = trained.network.outputs, split.targets_width
    names = tuple(trained.format.class_names)
    kinds = {
        "classes": (width is None, "labels"),
        "labels": (split.binary and width == outputs, f"{outputs} truth values of each row"),
        "targets": (width == outputs, f"{several(outputs, 'number')} of each row"),
    }
    right, wanted = kinds[trained.format.outputs]
    if not right:
        holds = "labels" if width is None else several(width, "target")
        raise UserError(f"{split.where('y')}: holds {holds}, but the model computes {wanted}; name others")
    if width is None and split.class_names is not None and names and split.class_names != names:
        raise UserError(
            f"{split.where('y')}: its class_names are others than those of the model, or in another order; "
            "number the classes as its data file does"
        )
