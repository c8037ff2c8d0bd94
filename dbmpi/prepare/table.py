"""Tables: columns of numbers and of categories, one or more of which are the target."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from dbmpi.arrays import Array
from dbmpi.errors import UserError
from dbmpi.prepare.columns import (
    CATEGORY,
    DROP,
    MEAN,
    MISSING,
    NUMBER,
    REFUSE,
    WHOLE,
    BadCell,
    Column,
    Texts,
    kind_of,
)
from dbmpi.prepare.labels import Codes
from dbmpi.prepare.pool import mapped
from dbmpi.prepare.source import SPLITS, TRAIN, Batch, Layout, smallest_dtype
from dbmpi.prepare.table_file import Block, TableFile
from dbmpi.text import listed, nearest, several, show

MOST_CATEGORIES = 1000  # of a column of inputs: beyond, it rather names the rows
MOST_CLASSES = 100  # of integers that are taken for labels
MOST_NAMED = 20  # columns, in a message
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

    def __init__(self, files: Sequence[TableFile], wanted: Wanted, jobs: int) -> None:
        self._tables, self._wanted, self._jobs = files, wanted, jobs
        self.files = [one.path for one in files]
        self._names = files[0].names
        self._check_names()
        first = next(files[0].blocks(), None)
        if first is None:
            raise UserError(f"{files[0].path}: has no row below its header; nothing is written")
        self._columns = {name: self._column(name, place, first) for place, name in enumerate(self._names)}
        self._codes = {name: Codes() for name in self._names}
        self._targets = [self._columns[name] for name in wanted.targets]
        special = {*wanted.targets, *wanted.drop, wanted.groups, wanted.split}
        inputs = [column for name, column in self._columns.items() if name not in special]
        self._numbers = [one for one in inputs if one.kind == NUMBER]
        self._categories = [one for one in inputs if one.kind == CATEGORY]
        if not inputs:
            raise UserError(f"{files[0].path}: no column is left to learn from beside {_some(self._names)}")
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
                    f"{_some(self._names)}"
                )
        for name, uses in Counter([*{*wanted.drop}, *wanted.targets, *filter(None, special)]).items():
            if uses > 1:
                raise UserError(
                    f"the column {show(name)} is given as two of --target, --drop, --groups and --split: "
                    "give it once"
                )

    def _column(self, name: str, place: int, first: Block) -> Column:
        """Say what a column is, by the first rows."""
        wanted = self._wanted
        if name == wanted.split:  # an empty one is no split, whatever else is missing
            missing = DROP if wanted.missing == DROP else REFUSE
            return Column(name, place, CATEGORY, missing, False, SPLITS)
        if name == wanted.groups or name in wanted.categorical:
            return Column(name, place, CATEGORY, wanted.missing)
        cells = first.cells(place)
        kind = self._target_kind(cells) if name in wanted.targets else kind_of(cells)
        if name in wanted.targets:
            return Column(name, place, kind, DROP if wanted.missing == DROP else REFUSE, fillable=False)
        return Column(name, place, kind, wanted.missing)

    def _target_kind(self, cells: Sequence[str]) -> str:
        """Return CATEGORY for classes as texts, WHOLE for whole numbers of few values, else NUMBER."""
        if self._wanted.task == NUMBERS or kind_of(cells) == CATEGORY:
            return NUMBER if self._wanted.task == NUMBERS else CATEGORY
        distinct = {cell.strip() for cell in cells} - MISSING
        whole = all(cell.lstrip("+-").isdigit() for cell in distinct)
        if self._wanted.task == CLASSES:
            return WHOLE if whole else CATEGORY
        return WHOLE if whole and len(distinct) <= MOST_CLASSES and len(self._wanted.targets) == 1 else NUMBER

    def _record(self) -> np.dtype:
        fields: list[tuple[str, type, tuple[int, ...]]] = [
            ("number", np.float32, (len(self._numbers),)),
            ("category", np.int32, (len(self._categories),)),
        ]
        if any(one.kind != NUMBER for one in self._targets):
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
        columns = [column for name, column in self._columns.items() if name not in self._wanted.drop]
        blocks = (block for table in self._tables for block in table.blocks())
        for found in mapped(partial(_values, columns=columns), blocks, self._jobs):
            values = {
                name: one.coded(self._codes[name]) if isinstance(one, Texts) else one
                for name, one in found.items()
            }
            self._check_categories()
            yield from self._by_split(self._records(values), values)

    def _records(self, values: Mapping[str, Array]) -> Array:
        records = np.empty(len(values[self._targets[0].name]), self.record)
        for field, columns in (
            ("number", self._numbers),
            ("category", self._categories),
            ("y", self._targets),
        ):
            if columns:
                block = np.stack([values[column.name] for column in columns], axis=1)
                records[field] = block if records[field].ndim > 1 else block[:, 0]
        if self._wanted.groups:
            records["group"] = values[self._wanted.groups]
        return records

    def _by_split(self, records: Array, values: Mapping[str, Array]) -> Iterator[Batch]:
        """Yield records by the split that their row names, without rows that are to be left out."""
        keep = slice(None)
        if self._wanted.missing == DROP:
            keep = np.all(
                [one >= 0 if one.dtype == np.int32 else np.isfinite(one) for one in values.values()], axis=0
            )
            self._left_out += len(records) - int(keep.sum())
        if not self._wanted.split:
            yield TRAIN, self._counted(records[keep])
            return
        for name, code in self._codes[self._wanted.split].items():
            chosen = records[keep][values[self._wanted.split][keep] == code]
            yield name, self._counted(chosen) if name == TRAIN else chosen

    def _counted(self, records: Array) -> Array:
        """Take training rows into the means that stand for missing numbers."""
        if self._wanted.missing == MEAN:
            self._sums += np.nansum(records["number"], axis=0, dtype=np.float64)
            self._rows += np.isfinite(records["number"]).sum(axis=0)
        return records

    def _check_categories(self) -> None:
        """Refuse a column that rather names the rows, before its texts fill the memory."""
        for column in self._categories:
            texts = len(self._codes[column.name])
            if texts > MOST_CATEGORIES:
                raise UserError(
                    f"{self.files[0]}: the column {show(column.name)} has more than {MOST_CATEGORIES:,} "
                    f"different texts; leave it out: --drop {column.name}"
                )

    def layout(self) -> Layout:
        """Return the columns of x: the numbers, then a 0 or 1 for each category."""
        means = self._means()
        encoding = [self._codes[column.name].ordered() for column in self._categories]
        classes = self._codes[self._targets[0].name].ordered() if self._targets[0].kind != NUMBER else None
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

    def _means(self) -> Array:
        """Return what stands for missing numbers. Raises UserError where a column has nothing else."""
        if self._wanted.missing == MEAN and not self._rows.all():
            name = self._numbers[int(self._rows.argmin())].name
            raise UserError(
                f"{self.files[0]}: the column {show(name)} has no number to take a mean of; leave it out: "
                f"--drop {name}"
            )
        return np.asarray(self._sums / np.maximum(self._rows, 1))

    def _left_out_note(self) -> dict[str, str]:
        return {"left_out": several(self._left_out, "row") + " with missing cells"} if self._left_out else {}


def _some(names: Sequence[str]) -> str:
    """List the names of columns for a message."""
    more = f" and {len(names) - MOST_NAMED:,} more" if len(names) > MOST_NAMED else ""
    return listed([*names[:MOST_NAMED]]) + more


def _values(block: Block, columns: Sequence[Column]) -> dict[str, Array | Texts]:
    """Return each column of a block: numbers all at once where they are all finite. Raises UserError."""
    numeric = [column for column in columns if column.kind != CATEGORY]
    try:
        found = (
            block.numbers([one.place for one in numeric], alone=len(numeric) == block.width)
            if numeric
            else None
        )
        if found is None:
            return {one.name: one.values(block.cells(one.place)) for one in columns}
        values = {one.name: one.taken(numbers) for one, numbers in zip(numeric, found.T, strict=True)}
        texts = {one.name: one.values(block.cells(one.place)) for one in columns if one.kind == CATEGORY}
        return values | texts
    except BadCell as bad:
        raise UserError(f"{block.where(bad.row)}: {show(bad.name)} {bad.problem}") from None


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
