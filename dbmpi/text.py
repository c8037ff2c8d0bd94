"""How values, places and lists are written in messages. Pure Python."""

import json
import re
import unicodedata
from collections.abc import Iterable
from typing import Any

Trail = tuple[str, ...]  # ("train", "target", "accuracy")
SHOWN = 60  # characters of a value in a message
LONGEST = 2000  # of a message: names of files may be long


def listed(items: list[str]) -> str:
    """Join alternatives for reading: `a, b or c`."""
    return " or ".join([", ".join(items[:-1]), items[-1]]) if len(items) > 1 else "".join(items)


def several(n: int, name: str, names: str = "") -> str:
    """Write how many there are of something: `1 rank`, `2,000 ranks`; `names` where an s does not do."""
    return f"{n:,} {name if n == 1 else names or name + 's'}"


def has_control(text: str) -> bool:
    """Return whether a text holds characters that no name should: control characters, or half ones."""
    return any(unicodedata.category(one) in ("Cc", "Cs", "Zl", "Zp") for one in text)


def nearest(word: Any, candidates: Iterable[str]) -> str:
    """Suggest the candidate that a misspelt word is nearest to, in parentheses; nothing if none is near."""
    match = close(word, candidates) if isinstance(word, str) else []
    return f" (did you mean {json.dumps(match[0])}?)" if match else ""


def close(word: str, candidates: Iterable[str]) -> list[str]:
    """Return the candidates that a misspelt word is near to, the nearest first."""
    import difflib  # here: only a mistake needs it

    return difflib.get_close_matches(word[:SHOWN].lower(), list(candidates))


def dotted(trail: Trail) -> str:
    """Write a trail as it is written in TOML: `train.target.accuracy`."""
    return ".".join(part if re.fullmatch(r"[\w-]+", part) else show(part) for part in trail)


def show(value: Any) -> str:
    """Write a value for a message: as in TOML where that is easy, short, on one line."""
    try:
        text = json.dumps(value) if isinstance(value, bool | str) else str(value)
    except (ValueError, RecursionError):
        return "a huge value"
    text = " ".join(text.split())
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."


def plain(text: str, most: int = 300) -> str:
    """Return a text from outside for a message: on one line, printable anywhere, not too long."""
    text = "".join(one if one == " " or one.isprintable() else ascii(one)[1:-1] for one in text)
    return text if len(text) <= most else text[: most - 3] + "..."


def one_line(error: Exception | str) -> str:
    """Return what an error says as one line: names of files in it may be anything."""
    return plain(str(error), LONGEST)


def decoded(text: bytes) -> str:
    """Return text that has travelled as UTF-8, cut to a length: half a character at its end is left out."""
    return text.decode(errors="ignore")
