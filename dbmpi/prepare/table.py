"""Tables: columns of numbers and of categories, one or more of which are the target."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from shlex import quote

import numpy as np

from dbmpi.arrays import Array
from dbmpi.errors import UserError
from dbmpi.prepare import doubts
from dbmpi.prepare.cells import AS_PYTHON, Cells
from dbmpi.prepare.columns import CATEGORY, DROP, MEAN, NUMBER, REFUSE, BadCell, Column, Texts, kind_of
from dbmpi.prepare.labels import Codes
from dbmpi.prepare.pool import mapped
from dbmpi.prepare.source import SPLITS, TRAIN, Batch, Layout
from dbmpi.prepare.splits import SPLIT_OF
from dbmpi.prepare.table_file import Block, TableFile
from dbmpi.prepare.target_columns import Learned, TargetColumns, kinds_of
from dbmpi.text import listed, nearest, several, show

MOST_CATEGORIES = 1000  # of a column of inputs: beyond, it rather names the rows
MOST_NAMED = 20  # columns, in a message
MOST_SHOWN = 8  # columns of one kind, in the summary


@dataclass(frozen=True)
class Wanted:
    """What the command line says about a table.

    Attributes
    ----------
    learned
        The columns that are to be learned.
    drop, categorical
        Names of columns that are left out, and of those whose numbers are names.
    dates
        The form of the dates of a column, by its name: see `cells.days`.
    groups, split
        Name of a column whose rows of one text stay in one split, and of one that names the split; or None.
    missing
        What happens to empty cells.
    cells
        How numbers are written, and which cells are empty.
    """

    learned: Learned
    drop: Sequence[str] = ()
    categorical: Sequence[str] = ()
    dates: Mapping[str, str] = field(default_factory=dict)
    groups: str | None = None
    split: str | None = None
    missing: str = REFUSE
    cells: Cells = AS_PYTHON

    @property
    def named(self) -> set[str]:
        """All names of columns that it says something about."""
        special = {one for one in (self.groups, self.split) if one}
        return special | {*self.learned.names, *self.drop, *self.categorical, *self.dates}


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
        self._unnamed = [
            name for place, name in enumerate(self._names) if self._is_number_of_row(name, place, first)
        ]
        self._targets = self._target_columns(first)
        special = {*wanted.learned.names, *wanted.drop, *self._unnamed, wanted.groups, wanted.split}
        left = [(name, place) for place, name in enumerate(self._names) if name not in special]
        inputs = [self._input(name, place, first) for name, place in left]
        if not inputs:
            raise UserError(f"{files[0].path}: no column is left to learn from beside {_some(self._names)}")
        self._check_inputs(inputs, first)
        self._numbers = [one for one in inputs if one.kind == NUMBER]
        self._categories = [one for one in inputs if one.kind == CATEGORY]
        self._columns = {one.name: one for one in (*inputs, *self._targets.columns, *self._keys())}
        self._codes = {name: Codes() for name in self._columns}
        self._targets.codes = self._codes[wanted.learned.names[0]]
        self.record = self._record()
        rows = sum(one.expected() for one in files)
        self.expected = dict.fromkeys(SPLITS if wanted.split else (TRAIN,), rows)
        self._sums, self._rows = np.zeros(len(self._numbers)), np.zeros(len(self._numbers))
        self._left_out = 0
        self._counting = [one.name for one in self._numbers if doubts.counts_rows(first.cells(one.place))]

    def _check_names(self) -> None:
        for table in self._tables[1:]:
            if table.names != self._names:
                raise UserError(
                    f"{table.path}: has other columns than {self._tables[0].path}; they are no one table"
                )
        path = self._tables[0].path
        if not self._wanted.learned.names:
            raise UserError(
                f"{path}: which column is to be learned? --target NAME; it has {_some(self._names)}"
            )
        for name in sorted(self._wanted.named):
            if name not in self._names:
                meant = nearest(name, self._names)
                raise UserError(f"{path}: has no column {show(name)}{meant}; it has {_some(self._names)}")
        wanted = self._wanted
        special = [*{*wanted.drop}, *wanted.learned.names, *filter(None, (wanted.groups, wanted.split))]
        for name, uses in Counter(special).items():
            if uses > 1:
                raise UserError(
                    f"the column {show(name)} is given as two of --target, --drop, --groups and --split: "
                    "give it once"
                )

    def _is_number_of_row(self, name: str, place: int, first: Block) -> bool:
        """Return whether a column of which nothing is said only counts the rows."""
        return name not in self._wanted.named and doubts.is_number_of_row(first.cells(place), name)

    def _target_columns(self, first: Block) -> TargetColumns:
        """Say what the targets are, by the first rows. Raises UserError where that is doubtful."""
        wanted, names = self._wanted, self._wanted.learned.names
        places = [self._names.index(name) for name in names]
        try:
            kinds = kinds_of([first.cells(place) for place in places], wanted.learned, wanted.cells)
        except UserError as error:
            raise UserError(f"{self.files[0]}: {error}") from None
        missing = DROP if wanted.missing == DROP else REFUSE
        columns = [
            Column(name, place, kind, missing, False, cells=wanted.cells, date=wanted.dates.get(name))
            for name, place, kind in zip(names, places, kinds, strict=True)
        ]
        return TargetColumns(columns, wanted.learned.separator)

    def _keys(self) -> Iterator[Column]:
        """Yield the columns of groups and of splits."""
        wanted = self._wanted
        if wanted.groups:
            place = self._names.index(wanted.groups)
            yield Column(wanted.groups, place, CATEGORY, wanted.missing, cells=wanted.cells)
        if wanted.split:  # an empty one is no split, whatever else is missing
            place, missing = self._names.index(wanted.split), DROP if wanted.missing == DROP else REFUSE
            yield Column(wanted.split, place, CATEGORY, missing, False, tuple(SPLIT_OF), wanted.cells)

    def _input(self, name: str, place: int, first: Block) -> Column:
        """Say what a column of inputs is, by the first rows."""
        wanted = self._wanted
        kind = NUMBER if name in wanted.dates else kind_of(first.cells(place), wanted.cells)
        kind = CATEGORY if name in wanted.categorical else kind
        return Column(name, place, kind, wanted.missing, cells=wanted.cells, date=wanted.dates.get(name))

    def _check_inputs(self, inputs: Sequence[Column], first: Block) -> None:
        """Raise UserError where texts are rather something else than categories, for all columns at once."""
        wanted, said = self._wanted, []
        for one in inputs:
            if one.kind == CATEGORY and one.name not in wanted.categorical:
                doubt = doubts.of_input(first.cells(one.place), one.name, wanted.cells)
                said += [f"{show(one.name)} {doubt}"] if doubt else []
        if said:
            raise UserError(f"{self.files[0]}: the column {'. The column '.join(said)}")

    def _record(self) -> np.dtype:
        fields: list[tuple[str, type, tuple[int, ...]]] = [
            ("number", np.float32, (len(self._numbers),)),
            ("category", np.int32, (len(self._categories),)),
            ("y", *self._targets.record),
        ]
        if self._wanted.groups:
            fields.append(("group", np.int32, ()))
        return np.dtype(fields)

    def batches(self) -> Iterator[Batch]:
        """Yield all rows, but those that are left out."""
        columns = [*self._columns.values()]
        blocks = (block for table in self._tables for block in table.blocks())
        for found in mapped(partial(_values, columns=columns), blocks, self._jobs):
            values = {
                name: one.coded(self._codes[name]) if isinstance(one, Texts) else one
                for name, one in found.items()
            }
            self._check_categories()
            yield from self._by_split(self._records(values), values)

    def _records(self, values: Mapping[str, Array]) -> Array:
        y = self._targets.of(values)
        records = np.empty(len(y), self.record)
        records["y"] = y
        for name, columns in (("number", self._numbers), ("category", self._categories)):
            if columns:
                records[name] = np.stack([values[column.name] for column in columns], axis=1)
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
        for word, code in self._codes[self._wanted.split].items():
            split = SPLIT_OF[word.lower()]
            chosen = records[keep][values[self._wanted.split][keep] == code]
            yield split, self._counted(chosen) if split == TRAIN else chosen

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
                    f"different texts; leave it out: --drop {quote(column.name)}"
                )

    def layout(self) -> Layout:
        """Return the columns of x: the numbers, then a 0 or 1 for each category."""
        means = self._means()
        encoding = [self._codes[column.name].ordered() for column in self._categories]
        targets = self._targets.stored()
        names = [column.name for column in self._numbers]
        names += [
            f"{column.name}={one}"
            for column, (texts, _) in zip(self._categories, encoding, strict=True)
            for one in texts
        ]
        return Layout(
            x_shape=(len(names),),
            x_dtype=np.dtype(np.float32),
            y_shape=targets.shape,
            y_dtype=targets.dtype,
            convert=partial(
                _converted, means=means, places=[places for _, places in encoding], of_targets=targets.convert
            ),
            class_names=targets.class_names,
            notes={
                "columns": names,
                "targets": [*self._wanted.learned.names],
                "inputs": self._of_inputs([len(texts) for texts, _ in encoding]),
                **self._left_out_note(),
            },
        )

    def _of_inputs(self, texts: Sequence[int]) -> str:
        """Say which columns are numbers, and which are texts, of how many."""
        numbers = [one.name for one in self._numbers]
        categories = [f"{one.name} ({n})" for one, n in zip(self._categories, texts, strict=True)]
        said = [
            f"{several(len(names), what)}: {', '.join(names[:MOST_SHOWN])}"
            + (", ..." if len(names) > MOST_SHOWN else "")
            for names, what in ((numbers, "number"), (categories, "text"))
            if names
        ]
        said += [f"{name} counts the rows: is it no input? --drop {quote(name)}" for name in self._counting]
        return "; ".join(said)

    def _means(self) -> Array:
        """Return what stands for missing numbers. Raises UserError where a column has nothing else."""
        if self._wanted.missing == MEAN and not self._rows.all():
            name = self._numbers[int(self._rows.argmin())].name
            raise UserError(
                f"{self.files[0]}: the column {show(name)} has no number to take a mean of; leave it out: "
                f"--drop {quote(name)}"
            )
        return np.asarray(self._sums / np.maximum(self._rows, 1))

    def _left_out_note(self) -> dict[str, str]:
        said = [f"{several(self._left_out, 'row')} with missing cells"] if self._left_out else []
        said += [f"{show(name)}, which has no name and only counts the rows" for name in self._unnamed]
        return {"left_out": "; ".join(said)} if said else {}


def _some(names: Sequence[str]) -> str:
    """List the names of columns for a message."""
    more = f" and {len(names) - MOST_NAMED:,} more" if len(names) > MOST_NAMED else ""
    return listed([*names[:MOST_NAMED]]) + more


def _values(block: Block, columns: Sequence[Column]) -> dict[str, Array | Texts]:
    """Return each column of a block: numbers all at once where they are all finite. Raises UserError."""
    numeric = [column for column in columns if column.is_plain]
    try:
        found = (
            block.numbers([one.place for one in numeric], alone=len(numeric) == block.width)
            if numeric
            else None
        )
        if found is None:
            return {one.name: one.values(block.cells(one.place)) for one in columns}
        values = {one.name: one.taken(numbers) for one, numbers in zip(numeric, found.T, strict=True)}
        others = {one.name: one.values(block.cells(one.place)) for one in columns if not one.is_plain}
        return values | others
    except BadCell as bad:
        raise UserError(f"{block.where(bad.row)}: {show(bad.name)} {bad.problem}") from None


def _converted(
    records: Array, means: Array, places: Sequence[Array], of_targets: Callable[[Array], Array]
) -> tuple[Array, Array]:
    """Return x (B, columns): numbers, with means for what is missing, then each category one-hot; and y."""
    numbers = records["number"]
    if np.isnan(numbers).any():
        numbers = np.where(np.isnan(numbers), means, numbers)
    hot = [place[records["category"][:, i], None] == np.arange(len(place)) for i, place in enumerate(places)]
    return np.concatenate([numbers, *hot], axis=1, dtype=np.float32), of_targets(records["y"])
