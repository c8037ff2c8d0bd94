"""What a data file holds, and whether a run could use it: `python -m dbmpi.data FILE`.

Status 0: a run could read it, by the keys that are given or shown; 2: it could not, or a mistake in the
command line.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import h5py

from dbmpi.config.load import load
from dbmpi.config.sections import Config
from dbmpi.data import digits
from dbmpi.data.describe import Description, describe
from dbmpi.data.fields import Fields, Opening, fields_of
from dbmpi.data.file_types import PANDAS
from dbmpi.data.findings import Findings, looked_over, of_chunks, order_of, speed_of
from dbmpi.data.fits import suspicions
from dbmpi.data.guess import Guess, data_sets, guess, written_by_pandas
from dbmpi.data.hdf5 import explain_errors
from dbmpi.data.split import Split
from dbmpi.errors import STATUS_OK, STATUS_USER_ERROR, UserError
from dbmpi.text import one_line, several, show

PROGRAM = "python -m dbmpi.data"
MOST_SETS, MOST_CLASSES = 30, 20  # shown
COUNTED = 1 << 22  # classes
SUFFICES = 256 << 20  # bytes of inputs that are all read, if --all does not say so


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line, and return the exit status."""
    parser = argparse.ArgumentParser(prog=PROGRAM, description="Show and check a data file.")
    help_of_file = 'an HDF5 file, "digits", or the CONFIG.toml of a run (ends with .toml)'
    parser.add_argument("file", metavar="FILE", help=help_of_file)
    parser.add_argument("--all", action="store_true", help="read all rows, however large the file is")
    help_of_set = "keys of the configuration, as of dbmpi.train"
    parser.add_argument(
        "--set", metavar="data.key=value", nargs="+", action="extend", default=[], help=help_of_set
    )
    given = parser.parse_args(argv)
    try:
        for line in report(given.file, given.set, given.all):
            print(line, flush=True)
    except UserError as error:
        print(f"dbmpi: error: {one_line(error)}", file=sys.stderr)
        return STATUS_USER_ERROR
    return STATUS_OK


def report(file: str, overrides: Sequence[str], all_rows: bool) -> Iterator[str]:
    """Yield what is to be said of a file, line by line. Raises UserError where a run could not use it."""
    config = load(Path(file) if file.endswith(".toml") else None, overrides)
    path = config.data.path if file.endswith(".toml") else file
    # What the network would have to be is another question: labels are taken as classes where they can be.
    fields = replace(fields_of(config), units=None)
    with Opening(path) as (opened, _), explain_errors(f"{digits.located(path)}: the file"):
        sets = data_sets(opened)
        yield f"{digits.located(path)}: {several(len(sets), 'data set')}"
        yield from (f"  {_of_set(name, sets[name])}" for name in list(sets)[:MOST_SETS])
        if len(sets) > MOST_SETS:
            yield f"  and {len(sets) - MOST_SETS:,} more"
        if written_by_pandas(opened, sets):
            raise UserError(f"{digits.located(path)}: {PANDAS.said(digits.located(path))}")
        guessed = guess(sets)
    fields, lines = _fields(path, fields, config, guessed)
    yield from lines
    description = describe(path, stand_in=False, fields=fields)
    yield from _of_splits(description)
    yield from _of_rows(path, description, all_rows)
    yield from _of_scaling(config, description)
    yield from (f"warning: {text}" for text in suspicions(description))


def _fields(path: str, fields: Fields, config: Config, guessed: Guess | None) -> tuple[Fields, list[str]]:
    """Return how to read the file: as configured, or as it looks where nothing is said and there is no x."""
    default = type(config.data)()
    said = (config.data.inputs, config.data.targets) != (default.inputs, default.targets)
    if guessed is None or said or _has(path, fields):
        return fields, []
    lines = [f'path = "{path}"', *guessed.assignments()]
    hints = ["to train on it, write", "  [data]", *(f"  {line}" for line in lines)]
    if guessed.groups is not None:
        hints.append(f'  groups = "{guessed.groups}"  # if rows of one must not be on both sides of a cut')
    first = fields.channels_first or guessed.channels_first
    fields = replace(fields, inputs=guessed.inputs, targets=guessed.targets, channels_first=first)
    return replace(fields, name_of_validation=guessed.validation), hints


def _has(path: str, fields: Fields) -> bool:
    """Return whether the training set is where the names say."""
    from dbmpi.data.fields import found

    view = found(path, fields)["train"]
    with Opening(path) as (_, sources):
        return sources.leads(view.inputs) and sources.leads(view.targets)


def _of_set(name: str, stored: h5py.Dataset) -> str:
    """Describe a data set as it is stored."""
    where = "virtual" if stored.is_virtual else "in other files" if stored.external else "contiguous"
    if stored.chunks:
        size = stored.dtype.itemsize
        for extent in stored.chunks:
            size *= extent
        where = f"chunks {stored.chunks} of {size / 1000:,.4g} kB"
    packed = f", {stored.compression}" if stored.compression else ""
    return f"{name}: {stored.shape} {_kind(stored)}, {where}{packed}"


def _kind(stored: h5py.Dataset) -> str:
    return "text" if h5py.check_string_dtype(stored.dtype) else str(stored.dtype)


def _of_splits(data: Description) -> Iterator[str]:
    """Say how many rows each split has, and what inputs and targets are."""
    rows = [f"{data.rows(name):,} for {name}" for name in ("validation", "test") if data.rows(name)]
    train = data.view("train")
    cut = "" if train.rows is None else f", cut from the {train.rows.of:,} of {train.inputs.strip('/')}"
    yield f"rows: {data.train_rows:,} to learn from, {', '.join(rows)}{cut}"
    kind = {1: "features", 2: "an image (H, W)", 3: "an image (H, W, C)"}[len(data.input_shape)]
    yield f"inputs: {data.input_shape} {data.dtype}, {kind}; {_of_factors(data)}"
    if data.targets is not None:
        what, loss = ("label", "logistic") if data.binary else ("number", "squared")
        yield f'targets: {several(data.targets, what)} of each row (model.loss = "{loss}")'


def _of_scaling(config: Config, data: Description) -> Iterator[str]:
    """Say what a run would do about the sizes of inputs and targets, or what is wrong with them."""
    auto = config.data.scaling == "auto"
    mode = data.suiting if auto else config.data.scaling
    yield f'scaling: data.scaling = "{mode}"{" (auto)" if auto else ""}'
    if mode == "none":
        yield from (f"warning: {text}" for text in data.warnings)


def _of_factors(data: Description) -> str:
    """Say what inputs are multiplied by, and what is added; of numbers for each input, the ends."""
    said = []
    for name, value in (("scale", data.scale), ("offset", data.offset)):
        ends = (value,) if isinstance(value, float) else (min(value), max(value))
        said.append(f"{name} {' to '.join(f'{one:g}' for one in ends)}")
    return ", ".join(said)


def _of_rows(path: str, data: Description, all_rows: bool) -> Iterator[str]:
    """Say what the rows hold: ranges, classes, order, and how fast they are read."""
    with Split(path, "train", view=data.view("train")) as train:
        found = looked_over(train, None if all_rows else SUFFICES)
        yield from _ranges(found, train)
        if data.targets is None:
            yield from _classes(train, data)
        yield speed_of(train)
    with Opening(path) as (_, sources):
        x = sources.data_set(data.view("train").inputs)
        if x.chunks and (odd := of_chunks(x.shape, x.chunks, data.inputs * x.dtype.itemsize)):
            yield f"warning: {odd}"


def _ranges(found: Findings, train: Split) -> Iterator[str]:
    looked = "all rows" if found.rows == train.rows else f"{found.rows:,} rows (--all for all)"
    yield f"values: {found.least:.4g} to {found.most:.4g} as stored, of {looked}"
    if train.image is None:
        low, high, constant = found.deviations
        yield (
            f"columns: standard deviations {low:.3g} to {high:.3g} as the network sees them"
            + (f", {several(constant, 'column')} constant" if constant else "")
        )
    else:
        spread = f"standard deviation {found.deviation:.3g}"
        yield f"pixels: mean {found.mean:.3g}, {spread} as the network sees them"


def _classes(train: Split, data: Description) -> Iterator[str]:
    if data.classes is not None and data.classes > COUNTED:
        yield f"classes: labels up to {data.classes - 1:,}, too many to count"
        return
    order = order_of(train)
    shown = []
    for label in range(min(len(order.counts), MOST_CLASSES)):
        name = (
            f" {show(data.class_names[label])}" if data.class_names and label < len(data.class_names) else ""
        )
        shown.append(f"{label}{name}: {order.counts[label]:,}")
    more = f", and {len(order.counts) - MOST_CLASSES:,} more" if len(order.counts) > MOST_CLASSES else ""
    yield f"classes: {len(order.counts):,} ({', '.join(shown)}{more})"
    yield f"order: {order}"
