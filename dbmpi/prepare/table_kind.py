"""The kind of input that is a table."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from dbmpi.prepare.kind import Kind, add_jobs, extra, found_files, jobs

if TYPE_CHECKING:
    from dbmpi.prepare.source import Source
    from dbmpi.prepare.table_file import TableFile


def _add_table(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files",
        metavar="FILE",
        nargs="+",
        help="CSV or TSV, gzipped or not, or parquet; several, or a pattern in quotes, are one table",
    )
    parser.add_argument(
        "--target",
        metavar="NAME",
        action="append",
        required=True,
        help="column to be learned; again for several",
    )
    parser.add_argument("--task", choices=("classes", "numbers"), help="what the target is (by its cells)")
    parser.add_argument(
        "--drop", metavar="NAME", action="append", default=[], help="column to leave out; again for several"
    )
    parser.add_argument(
        "--categorical", metavar="NAME", action="append", default=[], help="column whose numbers are names"
    )
    parser.add_argument("--groups", metavar="NAME", help="column whose rows of one text stay in one split")
    parser.add_argument("--split", metavar="NAME", help="column that says train, validation or test")
    parser.add_argument(
        "--missing",
        choices=("refuse", "drop", "mean"),
        default="refuse",
        help="empty cells: refuse them; drop their rows; or the mean, of texts a category of its own",
    )
    parser.add_argument(
        "--no-header", action="store_true", help="the first line has no names: they are 1, 2, 3, ..."
    )
    add_jobs(parser)


def _table(given: argparse.Namespace) -> "Source":
    from dbmpi.prepare.table import TableSource, Wanted

    wanted = Wanted(
        given.target, given.task, given.drop, given.categorical, given.groups, given.split, given.missing
    )
    files = [_table_file(path, not given.no_header) for path in found_files(given.files)]
    return TableSource(files, wanted, jobs(given))


def _table_file(path: Path, header: bool) -> "TableFile":
    if path.suffix == ".parquet":
        with extra("pyarrow"):
            from dbmpi.prepare.parquet import ParquetFile
        return ParquetFile(path)
    from dbmpi.prepare.delimited import DelimitedFile

    return DelimitedFile(path, header)


TABLE = Kind(
    "a table of numbers and texts (CSV, TSV, parquet)",
    "Columns of texts become a 0 or 1 for each text. The target is a class where it has texts or few\n"
    "different integers, else a number.",
    "diamonds.csv diamonds.h5 --target price",
    _add_table,
    _table,
)
