"""The kind of input that is a table."""

import argparse
import codecs
from pathlib import Path
from typing import TYPE_CHECKING

from dbmpi.errors import UserError
from dbmpi.extras import extra
from dbmpi.prepare.kind import Kind, add_jobs, found_files, jobs

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
        default=[],
        help="column to be learned; again for several",
    )
    parser.add_argument(
        "--task", choices=("classes", "numbers", "members"), help="what the target is (by its cells)"
    )
    parser.add_argument(
        "--separator", metavar="TEXT", help="between labels, where a cell of the target has several of them"
    )
    parser.add_argument(
        "--drop", metavar="NAME", action="append", default=[], help="column to leave out; again for several"
    )
    parser.add_argument(
        "--categorical", metavar="NAME", action="append", default=[], help="column whose numbers are names"
    )
    parser.add_argument(
        "--date",
        metavar="NAME[=FORM]",
        action="append",
        default=[],
        help="column of dates, which become days since 1970; the form as %%d.%%m.%%Y, else 2026-11-30 13:45",
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
        "--empty",
        metavar="TEXT",
        action="append",
        default=[],
        help="what stands for nothing, beside NA, nan, null, None and ?; again for several",
    )
    _add_dialect(parser.add_argument_group("how the text is written"))
    add_jobs(parser)


def _add_dialect(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--header",
        action=argparse.BooleanOptionalAction,
        help="the first line has the names of the columns, or (--no-header) not: they are 1, 2, 3, ...",
    )
    group.add_argument(
        "--delimiter",
        metavar="C",
        type=_delimiter,
        help="between cells: a character, tab or space (any blanks)",
    )
    group.add_argument("--decimal", metavar="C", default=".", help="before decimals (.)")
    group.add_argument("--thousands", metavar="C", default="", help="between thousands (nothing)")
    group.add_argument("--encoding", metavar="NAME", type=_encoding, default="utf-8", help="of texts (utf-8)")
    group.add_argument(
        "--skip-lines", metavar="N", type=int, default=0, help="lines before the names, or the first row (0)"
    )


def _delimiter(text: str) -> str:
    """Read a character, or its name."""
    found = {"tab": "\t", "\\t": "\t", "space": " "}.get(text, text)
    if len(found) != 1:
        raise argparse.ArgumentTypeError(f"{text} is no character, nor tab or space")
    return found


def _encoding(text: str) -> str:
    """Read the name of an encoding."""
    try:
        return codecs.lookup(text).name
    except LookupError:
        raise argparse.ArgumentTypeError(f"{text} is no encoding; as latin-1, cp1252, utf-16") from None


def _table(given: argparse.Namespace) -> "Source":
    from dbmpi.prepare.cells import Cells
    from dbmpi.prepare.table import TableSource, Wanted
    from dbmpi.prepare.target_columns import Learned

    dates = (text.partition("=") for text in given.date)
    wanted = Wanted(
        learned=Learned(given.target, given.task, given.separator),
        drop=given.drop,
        categorical=given.categorical,
        dates={name: form for name, _, form in dates},
        groups=given.groups,
        split=given.split,
        missing=given.missing,
        cells=Cells(given.decimal, given.thousands, frozenset(given.empty)),
    )
    files = [_table_file(path, given) for path in found_files(given.files)]
    return TableSource(files, wanted, jobs(given))


def _table_file(path: Path, given: argparse.Namespace) -> "TableFile":
    if _is_parquet(path):
        if (given.decimal, given.thousands) != (".", ""):
            raise UserError(
                f"{path}: numbers of parquet have no --decimal and no --thousands; leave them out"
            )
        with extra("pyarrow"):
            from dbmpi.prepare.parquet import ParquetFile
        return ParquetFile(path)
    from dbmpi.prepare.delimited import DelimitedFile, Dialect

    dialect = Dialect(given.header, given.delimiter, given.encoding, given.skip_lines, options=True)
    return DelimitedFile(path, dialect)


def _is_parquet(path: Path) -> bool:
    from dbmpi.data.file_types import PARQUET, type_of

    return path.suffix == ".parquet" or (path.is_file() and type_of(path) is PARQUET)


TABLE = Kind(
    "a table of numbers and texts (CSV, TSV, parquet)",
    "Columns of texts become a 0 or 1 for each text. The target is a class where it has texts or few\n"
    "different integers, else a number.",
    "diamonds.csv diamonds.h5 --target price",
    _add_table,
    _table,
)
