"""What a column of texts may be in truth: dates, numbers written otherwise, names of the rows.

It would become a 0 or 1 for each text, without a word, and the network would learn from something else.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from shlex import quote

from dbmpi.prepare.cells import Cells
from dbmpi.text import several, show

DATE = re.compile(r"\d{1,4}([-/.])\d{1,2}\1\d{1,4}([T ]\d{1,2}:\d\d.*)?")
ISO = re.compile(r"\d{4}-\d\d-\d\d\b.*")
DECIMAL = re.compile(r"[+-]?(\d+|\d{1,3}(\.\d{3})+),\d+")  # 0,25 or 1.234,5
THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?")  # 1,234 or 1,234.5
FEW_TEXTS, NAMES_ROWS = 20, 0.5  # more texts than this share of the rows rather name them
MOST_ODD = 0.2  # of the cells of a column of numbers that are something else
SEPARATORS, FEWEST_JOINED = ";|,", 0.2  # between labels, and in how many of the cells at least
NAMELESS = re.compile(r"Unnamed: \d+|column \d+|__index_level_\d+__")  # by pandas, by `delimited`, in parquet
FEWEST_COUNTED = 10  # rows
MOST_NAMED = 3  # texts in a remedy


def of_input(cells: Sequence[str], name: str, form: Cells) -> str:
    """Return what texts of a column look like, and what to do; nothing where they may be categories."""
    found = _written_otherwise(cells, name, form)
    if found:
        return f"{found}; --drop {quote(name)} leaves it out, --categorical {quote(name)} keeps it as it is"
    texts, rows = _texts(cells, form)
    if len(texts) > FEW_TEXTS and len(texts) > NAMES_ROWS * rows:
        return (
            f"has {several(len(texts), 'text')} in {several(rows, 'row')}, as {_example(texts)}: it rather "
            f"names the rows; --drop {quote(name)} leaves it out, --categorical {quote(name)} keeps it"
        )
    return ""


def of_target(cells: Sequence[str], name: str, form: Cells) -> str:
    """Return what texts of a target look like, and what to do; nothing where they may be classes."""
    found = _written_otherwise(cells, name, form)
    if found:
        return f"{found}; --task classes takes each text for a class"
    texts, rows = _texts(cells, form)
    for one in SEPARATORS:
        joined = sum(count for text, count in texts.items() if one in text)
        parts = {part.strip() for text in texts for part in text.split(one)}
        if joined >= FEWEST_JOINED * rows and len(parts) < len(texts):
            return (
                f"has cells with {show(one)}, as {_example(text for text in texts if one in text)}: add "
                f"--separator {quote(one)} if they are several labels, --task classes if each is one"
            )
    return ""


def is_number_of_row(cells: Sequence[str], name: str) -> bool:
    """Return whether a column has no name, and counts the rows or is empty: as what pandas writes first."""
    if not NAMELESS.fullmatch(name):
        return False
    return counts_rows(cells) or not any(cell.strip() for cell in cells)


def counts_rows(cells: Sequence[str]) -> bool:
    """Return whether cells are whole numbers, each one more than that before."""
    try:
        start = int(cells[0])
        return len(cells) >= FEWEST_COUNTED and [*map(int, cells)] == [*range(start, start + len(cells))]
    except ValueError:
        return False


def _texts(cells: Iterable[str], form: Cells) -> tuple[Counter[str], int]:
    """Return the different texts with their counts, without what is missing; and how many cells they are."""
    texts = Counter(text for cell in cells if not form.is_missing(text := cell.strip()))
    return texts, texts.total()


def _written_otherwise(cells: Sequence[str], name: str, form: Cells) -> str:
    """Return what texts look like that are dates or numbers."""
    texts, rows = _texts(cells, form)
    if texts and all(map(DATE.fullmatch, texts)):
        option = quote(name if all(map(ISO.fullmatch, texts)) else f"{name}={_form_of(next(iter(texts)))}")
        of_form = "" if option == quote(name) else ", of such a form,"
        return f"has dates, as {_example(texts)}: --date {option}{of_form} makes a number of days of each"
    odd = sorted(text for text in texts if not _is_number(text, form))
    for pattern, remedy in ((THOUSANDS, "--thousands ,"), (DECIMAL, "--decimal ,")):
        if odd and all(map(pattern.fullmatch, odd)):
            return f"has numbers with commas, as {_example(odd)}: {remedy} reads them"
    odd_rows = sum(texts[text] for text in odd)
    if 0 < odd_rows <= MOST_ODD * rows:
        remedy = " ".join(f"--empty {quote(text)}" for text in odd[:MOST_NAMED])
        numbers = several(rows - odd_rows, "number")
        return f"has {numbers}, but also {_example(odd)}: {remedy} if that stands for nothing"
    return ""


def _form_of(date: str) -> str:
    """Return the form that a date may have; a day may as well be the month."""
    day, _, time = date.replace("T", " ").partition(" ")
    mark = "".join(one for one in day if not one.isdigit())[0]
    form = mark.join(("%Y", "%m", "%d") if day[:4].isdigit() else ("%d", "%m", "%Y"))
    return f"{form} %H:%M{':%S' if time.count(':') > 1 else ''}" if time else form


def _is_number(text: str, form: Cells) -> bool:
    try:
        form.number(text)
    except ValueError:
        return False
    return True


def _example(texts: Iterable[str]) -> str:
    return show(next(iter(texts)))
