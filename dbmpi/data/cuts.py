"""Cut the splits that a file lacks from its training set, as configured. Local.

What is cut is a function of the file and of `[data]` alone, so a run that goes on cuts the same.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from dbmpi.arrays import Array
from dbmpi.data import cutting
from dbmpi.data.fields import CUT, Fields, Opening, View, plain
from dbmpi.data.labels import as_bytes, is_text
from dbmpi.data.split import Split
from dbmpi.data.stretches import Stretches
from dbmpi.errors import UserError

SCAN_ROWS = 1 << 20


def cut(
    path: str | Path, views: Mapping[str, View], fields: Fields, stand_in: bool
) -> tuple[dict[str, View], float]:
    """Return how all splits are read, also those that are cut, and the fraction for test.

    Parameters
    ----------
    path
        As `data.path`.
    views
        How the splits of the file are read.
    fields
        Which fractions to cut.
    stand_in
        As `describe`.

    Raises
    ------
    UserError
        A fraction is given of a split that the file has, or no rows would be left.
    """
    test = fields.test if fields.test != "auto" else 0.0 if "test" in views else CUT
    shares = {"test": test, "validation": fields.validation}
    for name, share in shares.items():
        if share and name in views:
            raise UserError(
                f"{path}: has rows for {name} of its own, and data.{name}_fraction = {share:g} would cut "
                "others; leave it out"
            )
    if not any(shares.values()):
        return {**views, "test": views.get("test") or plain("test")}, 0.0
    with Split(path, "train", view=views["train"]) as train:
        train.check_complete(stand_in, inputs=False)
        parts = _parts(train, fields, (test, fields.validation))
    names = [name for name, share in shares.items() if share]
    for name, rows in zip((*names, "train"), parts, strict=True):
        if not rows.rows:
            raise UserError(
                f"{train.where('x')}: of its {train.rows} rows none is left for {name} once "
                f"{', '.join(f'data.{one}_fraction = {shares[one]:g}' for one in names)} is cut; cut less, "
                "or give more rows or groups"
            )
    views = dict(views)
    for name, rows in zip((*names, "train"), parts, strict=True):
        views[name] = replace(views["train"], rows=rows)
        if name != "train":
            views[name] = replace(views[name], weights=None)
    return {name: views[name] for name in ("train", "validation", "test") if name in views}, test


def _parts(train: Split, fields: Fields, shares: tuple[float, ...]) -> list[Stretches]:
    """Return the rows of each split that is cut, and those that stay."""
    if fields.groups is None:
        unit_N = np.arange(train.rows) // cutting.block_rows(train.rows)
    else:
        unit_N = cutting.units_of_groups(_groups(train, fields.groups), fields.seed)
    shares = tuple(share for share in shares if share)
    return cutting.stretches(unit_N, cutting.choose(_counts(train, unit_N), shares, fields.seed))


def _counts(train: Split, unit_N: Array) -> Array:
    """Return how many rows of each class each unit has, int64 (U, K); K = 1 where there are no labels."""
    units, classes = int(unit_N.max()) + 1, 1
    counts_UK = np.zeros((units, cutting.MOST_CLASSES), np.int64)
    labelled = train.targets_width is None and train.has_labels
    for start in range(0, train.rows, SCAN_ROWS):
        stop = min(start + SCAN_ROWS, train.rows)
        class_N = np.zeros(stop - start, np.int64)
        if labelled:
            class_N = train.labels([(start, stop)]) % cutting.MOST_CLASSES
        classes = max(classes, int(class_N.max()) + 1)
        at_N = unit_N[start:stop] * cutting.MOST_CLASSES + class_N
        counts_UK += np.bincount(at_N, minlength=counts_UK.size).reshape(counts_UK.shape)
    return counts_UK[:, :classes]


def _groups(train: Split, name: str) -> Array:
    """Return the group of each row, of whatever type."""
    place = name if name.startswith("/") else f"{train.group}/{name}".lstrip("/")
    with Opening(train.path) as (_, sources):
        stored = sources.data_set(place)
        where = f"{train.path}: {place.strip('/')}"
        kind = stored.dtype
        if stored.shape not in ((train.stored_rows,), (train.stored_rows, 1)) or not (
            is_text(kind) or kind.kind in "iub"
        ):
            raise UserError(
                f"{where} (data.groups) has shape {stored.shape} and type {kind}; give an integer or a text "
                f"for each of the {train.stored_rows} rows"
            )
        rows = sources.rows(stored, where)
        rows.check_complete()
        out = np.empty(stored.shape, kind if is_text(kind) or kind.kind == "b" else np.int64)
        rows.read(out, tuple((0, extent) for extent in stored.shape))
        rows.check()
    return as_bytes(out.reshape(-1)) if is_text(kind) else out.reshape(-1)
