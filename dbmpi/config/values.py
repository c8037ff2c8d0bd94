"""The check of one value: what it must be follows from its `config.schema.Key`. Pure Python."""

import datetime
import math
import re
import tomllib
from contextlib import suppress
from dataclasses import replace
from typing import Any

from dbmpi.config.schema import LARGEST_INTEGER, Key, accepts
from dbmpi.text import has_control, nearest, show

UNSET = "none"  # the word that unsets an optional key
DURATION = re.compile(r"(?:(\d{1,6})-)?(\d{1,6}):([0-5]\d):([0-5]\d)")


PLACEHOLDER = re.compile(r"\{\w+\}")  # as {split}_x: a text that begins as a table does


def from_text(text: str) -> Any:
    """Read the value of an override as TOML; what is no TOML is a bare word, taken as a string.

    Raises
    ------
    ValueError
        If it begins as TOML does, and is none; the text says what is wrong with it.
    """
    text = text.strip()
    try:
        parsed = tomllib.loads(f"value = {text}")
    except RecursionError:
        raise ValueError("is nested too deeply; give a TOML value") from None
    except ValueError as error:
        if text[:1] in tuple("[{\"'") and not PLACEHOLDER.match(text):
            raise ValueError(f"is not valid TOML: {error}") from None
        return text
    return parsed["value"] if parsed.keys() == {"value"} else text


def scalar(key: Key, value: Any) -> Any:
    """Return the value in the key's type.

    Raises
    ------
    ValueError
        If the key does not accept it; the text says what is wrong with it, as in `is too small`.
    """
    if isinstance(value, str) and value in key.words:
        return value
    if key.pair and isinstance(value, list):
        return _pair(key, value)
    if key.numbers and isinstance(value, list):
        return _numbers(key, value)
    if key.duration and not isinstance(value, int | float):
        value = _seconds(value)
    if key.kind is float and type(value) is int:
        value = _as_float(value)
    if key.kind is None or type(value) is not key.kind:
        misspelt = isinstance(value, str) and key.words
        raise ValueError("is not one of its values" if misspelt else f"is {_type(value)}")
    if isinstance(value, str):
        _check_text(value)
    elif isinstance(value, int | float):
        _check_limits(key, value)
    return value


def _pair(key: Key, value: list[Any]) -> tuple[int, int]:
    if len(value) != 2:
        raise ValueError(f"is an array of {len(value)}, not of two")
    one = replace(key, kind=int, pair=False)
    try:
        rows, columns = (scalar(one, item) for item in value)
    except ValueError as problem:
        raise ValueError(f"holds an entry that {problem}") from None
    return rows, columns


def _numbers(key: Key, value: list[Any]) -> tuple[float, ...]:
    one = replace(key, kind=float, numbers=False, words=())
    try:
        return tuple(scalar(one, item) for item in value)
    except ValueError as problem:
        raise ValueError(f"holds an entry that {problem}") from None


def _seconds(value: Any) -> float:
    """Turn "HH:MM:SS", "D-HH:MM:SS" or a TOML time into seconds."""
    text = value.isoformat() if isinstance(value, datetime.time) else value
    match = DURATION.fullmatch(text.split(".")[0]) if isinstance(text, str) else None
    if match is None:
        raise ValueError("is no duration")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)


def _as_float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        raise ValueError("is too large") from None


def _check_text(value: str) -> None:
    if not value:
        raise ValueError("is empty")
    if has_control(value):
        raise ValueError("has control characters, or is not UTF-8")


def _check_limits(key: Key, value: float) -> None:
    if isinstance(value, float) and not math.isfinite(value):  # an integer can be too large to ask
        raise ValueError("is not a finite number")
    low = key.minimum is not None and value < key.minimum
    high = key.maximum is not None and value > key.maximum
    if low or (key.above is not None and value <= key.above):
        raise ValueError("is too small")
    if high or (key.below is not None and value >= key.below):
        raise ValueError("is too large")
    if key.odd and value % 2 == 0:
        raise ValueError("is even")
    if key.kind is int and value > LARGEST_INTEGER:
        raise ValueError(f"is above {LARGEST_INTEGER}")


def intended(key: Key, value: Any) -> str:
    """Return the text of a value that was put in quotes, after two =, or in capitals; empty where none is."""
    text = value.strip("=:, ") if isinstance(value, str) else ""
    for one in (text, text.lower()):
        with suppress(ValueError):
            if one and key.kind is not str:
                scalar(key, from_text(one))
                return one
    return ""


def remedy(key: Key, value: Any) -> str:
    """Say what to give instead of a value that `scalar` refused."""
    if key.unit == "fraction" and type(value) in (int, float) and 1 < value <= 100:
        return f"give a fraction: {value / 100:g} for {value:g} %"
    if key.kind is str and not isinstance(value, str):
        return f'give a string, in quotes: "{show(value)}"'
    unit = "" if key.duration or key.kind not in (int, float) or not key.unit else f" ({key.unit})"
    none = f', or "{UNSET}"' if key.optional else ""
    return f"give {accepts(key)}{unit}{none}{nearest(value, key.words)}"


def _type(value: Any) -> str:
    names = {bool: "true or false", int: "an integer", float: "a floating-point number", str: "a string"}
    names |= {list: "an array", dict: "a table"}
    return names.get(type(value), "a date or time")
