"""Tables: columns of numbers and of categories, one or more of which are the target."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from dbmpi.arrays import Array
from dbmpi.errors import UserError
from dbmpi.prepare.columns import CATEGORY, DROP, MEAN, NUMBER, REFUSE, BadCell, Column, kind_of
from dbmpi.prepare.delimited import Block, DelimitedFile
from dbmpi.prepare.source import SPLITS, TRAIN, Batch, Layout, smallest_dtype
from dbmpi.text import listed, nearest, several, show

MOST_CATEGORIES = 1000  # of a column of inputs: beyond, it rather names the rows
MOST_CLASSES = 100  # of integers that are taken for labels
CLASSES, NUMBERS = TASKS = ("classes", "numbers")


@dataclass(frozen=True)
class Wanted:
    """What the command line says about a table.

    Attributes
    ----------
    targets
        Names of the columns that are to be learned.
    task
        Whether they are CLASSES or NUMBERS; None to see by their cells.
    drop, categorical
        Names of columns that are left out, and of those whose numbers are names.
    groups, split
        Name of a column whose rows of one text stay in one split, and of one that names the split; or None.
    missing
        What happens to empty cells.
    """

    targets: Sequence[str]
    task: str | None = None
    drop: Sequence[str] = ()
    categorical: Sequence[str] = ()
    groups: str | None = None
    split: str | None = None
    missing: str = REFUSE


class TableSource:
    """Files of one table, each with the same columns.

    Raises UserError where a column is missing, or none is left to learn from.
    """

    def __init__(self, files: Sequence[DelimitedFile], wanted: Wanted) -> None:
        self._tables, self._wanted, self.files = files, wanted, [one.path for one in files]
        self._names = files[0].names
        self._check_names()
        first = next(files[0].blocks(), None)
        if first is None:
            raise UserError(f"{files[0].path}: has no row below its header; nothing is written")
        self._columns = {name: self._column(name, first) for name in self._names}
        self._targets = [self._columns[name] for name in wanted.targets]
        special = {*wanted.targets, *wanted.drop, wanted.groups, wanted.split}
        inputs = [column for name, column in self._columns.items() if name not in special]
        self._numbers = [one for one in inputs if one.kind == NUMBER]
        self._categories = [one for one in inputs if one.kind == CATEGORY]
        if not inputs:
            raise UserError(f"{files[0].path}: no column is left to learn from beside {listed(self._names)}")
        self.record = self._record()
        rows = sum(one.expected() for one in files)
        self.expected = dict.fromkeys(SPLITS if wanted.split else (TRAIN,), rows)
        self._sums, self._rows = np.zeros(len(self._numbers)), np.zeros(len(self._numbers))
        self._left_out = 0

    def _check_names(self) -> None:
        wanted = self._wanted
        for table in self._tables[1:]:
            if table.names != self._names:
                raise UserError(
                    f"{table.path}: has other columns than {self._tables[0].path}; they are no one table"
                )
        special = [wanted.groups, wanted.split]
        for name in [*wanted.targets, *wanted.drop, *wanted.categorical, *(one for one in special if one)]:
            if name not in self._names:
                raise UserError(
                    f"{self._tables[0].path}: has no column {show(name)}{nearest(name, self._names)}; it has "
                    f"{listed(self._names)}"
                )

    def _column(self, name: str, first: Block) -> Column:
        """Say what a column is, by the first rows."""
        wanted, place = self._wanted, self._names.index(name)
        if name in (wanted.groups, wanted.split) or name in wanted.categorical:
            return Column(name, place, CATEGORY, wanted.missing)
        cells = first.cells(place)
        kind = self._target_kind(cells) if name in wanted.targets else kind_of(cells)
        missing = DROP if wanted.missing == DROP else REFUSE
        return Column(name, place, kind, missing if name in wanted.targets else wanted.missing)

    def _target_kind(self, cells: Sequence[str]) -> str:
        """Return CATEGORY for classes: texts, or integers of few values."""
        if self._wanted.task is not None:
            return CATEGORY if self._wanted.task == CLASSES else NUMBER
        if kind_of(cells) == CATEGORY:
            return CATEGORY
        distinct = {cell.strip() for cell in cells}
        few = len(distinct) <= MOST_CLASSES and all(cell.lstrip("+-").isdigit() for cell in distinct)
        return CATEGORY if few and len(self._wanted.targets) == 1 else NUMBER

    def _record(self) -> np.dtype:
        fields: list[tuple[str, type, tuple[int, ...]]] = [
            ("number", np.float32, (len(self._numbers),)),
            ("category", np.int32, (len(self._categories),)),
        ]
        if self._targets[0].kind == CATEGORY:
            if len(self._targets) > 1:
                raise UserError(
                    "several columns are to be learned, and one of them has classes: give one --target"
                )
            fields.append(("y", np.int32, ()))
        else:
            fields.append(("y", np.float32, (len(self._targets),)))
        if self._wanted.groups:
            fields.append(("group", np.int32, ()))
        return np.dtype(fields)

    def batches(self) -> Iterator[Batch]:
        """Yield all rows, but those that are left out."""
        for table in self._tables:
            for block in table.blocks():
                try:
                    values = self._values(block)
                    yield from self._by_split(self._records(values), values)
                except BadCell as bad:
                    raise UserError(f"{block.where(bad.row)}: {show(bad.name)} {bad.problem}") from None

    def _values(self, block: Block) -> dict[str, Array]:
        """Return each column that is needed: all at once where they are all finite numbers."""
        names = [name for name in self._columns if name not in self._wanted.drop]
        columns = [self._columns[name] for name in names]
        if all(column.kind == NUMBER for column in columns):
            found = block.numbers([column.place for column in columns])
            if found is not None:
                return dict(zip(names, found.T, strict=True))
        return {column.name: column.values(block.cells(column.place)) for column in columns}

    def _records(self, values: Mapping[str, Array]) -> Array:
        records = np.empty(len(values[self._targets[0].name]), self.record)
        for field, columns in (
            ("number", self._numbers),
            ("category", self._categories),
            ("y", self._targets),
        ):
            for place, column in enumerate(columns):
                (records[field][:, place] if records[field].ndim > 1 else records[field])[...] = values[
                    column.name
                ]
        if self._wanted.groups:
            records["group"] = values[self._wanted.groups]
        return records

    def _by_split(self, records: Array, values: Mapping[str, Array]) -> Iterator[Batch]:
        """Yield records by the split that their row names, without rows that are to be left out."""
        keep = np.ones(len(records), bool)
        if self._wanted.missing == DROP:
            for column in values.values():
                keep &= column >= 0 if column.dtype == np.int32 else np.isfinite(column)
        self._left_out += len(keep) - int(keep.sum())
        if not self._wanted.split:
            yield TRAIN, self._counted(records[keep])
            return
        for name, code in self._columns[self._wanted.split].codes.items():
            if name not in SPLITS:
                raise UserError(
                    f"the column {show(self._wanted.split)} has {show(name)}; it must be {listed([*SPLITS])}"
                )
            chosen = records[keep & (values[self._wanted.split] == code)]
            yield name, self._counted(chosen) if name == TRAIN else chosen

    def _counted(self, records: Array) -> Array:
        """Take training rows into the means that stand for missing numbers."""
        if self._wanted.missing == MEAN:
            self._sums += np.nansum(records["number"], axis=0, dtype=np.float64)
            self._rows += np.isfinite(records["number"]).sum(axis=0)
        return records

    def layout(self) -> Layout:
        """Return the columns of x: the numbers, then a 0 or 1 for each category."""
        for column in self._categories:
            if len(column.codes) > MOST_CATEGORIES:
                raise UserError(
                    f"the column {show(column.name)} has {several(len(column.codes), 'text')}; leave it out: "
                    f"--drop {column.name}"
                )
        means = self._sums / np.maximum(self._rows, 1)
        encoding = [column.codes.ordered() for column in self._categories]
        classes = self._targets[0].codes.ordered() if self._targets[0].kind == CATEGORY else None
        names = [column.name for column in self._numbers]
        names += [
            f"{column.name}={one}"
            for column, (texts, _) in zip(self._categories, encoding, strict=True)
            for one in texts
        ]
        y_dtype = smallest_dtype(len(classes[0])) if classes else np.dtype(np.float32)
        return Layout(
            x_shape=(len(names),),
            x_dtype=np.dtype(np.float32),
            y_shape=() if classes or len(self._targets) == 1 else (len(self._targets),),
            y_dtype=y_dtype,
            convert=partial(
                _converted,
                means=means,
                places=[places for _, places in encoding],
                y_places=classes and classes[1],
            ),
            class_names=classes[0] if classes else None,
            notes={"columns": names, "targets": [*self._wanted.targets], **self._left_out_note()},
        )

    def _left_out_note(self) -> dict[str, str]:
        return {"left_out": several(self._left_out, "row") + " with missing cells"} if self._left_out else {}


def _converted(
    records: Array, means: Array, places: Sequence[Array], y_places: Array | None
) -> tuple[Array, Array]:
    """Return x (B, columns): numbers, with means for what is missing, then each category one-hot; and y."""
    numbers, y = records["number"], records["y"]
    if np.isnan(numbers).any():
        numbers = np.where(np.isnan(numbers), means, numbers)
    hot = [place[records["category"][:, i], None] == np.arange(len(place)) for i, place in enumerate(places)]
    x = np.concatenate([numbers, *hot], axis=1, dtype=np.float32)
    if y_places is not None:
        return x, y_places[y]
    return x, y[:, 0] if y.shape[1] == 1 else y
