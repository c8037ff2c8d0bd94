"""The table that is printed: a line for each row of a part. Pure."""

from collections.abc import Mapping
from typing import Any

WIDTHS = (46, 27, 30, 24)
TIMES = ((1.0, "s", 1.0), (1e-3, "ms", 1e3), (0.0, "us", 1e6))
HEAD = ("", "median (least to most)", "beside", "ratio")


def head() -> str:
    """Return the first line."""
    return _line([*HEAD, "aim"])


def lines(part: Mapping[str, Any]) -> list[str]:
    """Return the lines of a part, with its name over them."""
    rounds = part.get("rounds", 0)
    taken = f"{rounds} round{'s' * (rounds != 1)}, {part['seconds']:.0f} s"
    found = [f"\n{part['name']} ({taken}): {part['what']}"]
    if part["status"] == "failed":
        found.append(f"  FAILED: {part['why']}")
    return found + [line for row in part["rows"] for line in _row(row)]


def _row(row: Mapping[str, Any]) -> list[str]:
    """Return the line of a row, and one that says what is missing."""
    why = [f"    {brief(row['why'])}"] if row["why"] else []
    if "figure" not in row:
        return [f"{row['name']:{WIDTHS[0]}} {row['status']}", *why]
    beside, by = row.get("against"), row["by"]
    unit, factor = scale(row["unit"], row["figure"][by] or 0.0)
    cells = [
        row["name"],
        _with_spread(row["figure"], by, factor, unit),
        f"{beside['name']} {number(beside[by], factor)}" if beside else "",
        _with_spread(row["ratio"], by) if beside else "",
        _aim(row),
    ]
    return [_line(cells), *why]


def _line(cells: list[str]) -> str:
    first, *others, last = cells
    padded = [f"{cell:>{width}}" for cell, width in zip(others, WIDTHS[1:], strict=True)]
    return " ".join([f"{first:{WIDTHS[0]}}", *padded, last]).rstrip()


def _aim(row: Mapping[str, Any]) -> str:
    """Return the aim, and whether it is missed."""
    if not row["aim"]:
        return ""
    least, most = row["aim"]["at_least"], row["aim"]["at_most"]
    text = f">= {least:g}" if least is not None else f"<= {most:g}"
    return text + ("  MISSED" if row.get("met") is False else "")


def scale(unit: str, value: float) -> tuple[str, float]:
    """Return the unit to print in, and the factor to it: short times in ms or us, many bytes in MB."""
    if unit == "s":
        return next((name, factor) for least, name, factor in TIMES if abs(value) >= least or not value)
    return ("MB", 1e-6) if unit == "bytes" else (unit, 1.0)


def _with_spread(spread: Mapping[str, float | None], by: str, factor: float = 1.0, unit: str = "") -> str:
    """Return what counts of several rounds, a mean marked as one, with the least and the most."""
    digits = ".2f" if unit in ("%", "points") else ""
    middle, least, most = (number(spread[key], factor, digits) for key in (by, "least", "most"))
    mark = "mean " * (by == "mean")
    text = middle if least == most else f"{mark}{middle} ({least} to {most})"
    return text if spread[by] is None else f"{text} {unit}".rstrip()


def brief(why: str) -> str:
    """Return the error, or else the end, of what a record holds whole."""
    lines = [line for line in why.splitlines() if line.strip()]
    errors = [line for line in lines if "rror: " in line] or lines
    return lines[0] if len(lines) == 1 else f"{lines[0][:60]} ... {errors[-1][:200]}"


def number(value: float | None, factor: float = 1.0, digits: str = "") -> str:
    """Return a number with three digits, of a large one all before the point; `never` for none."""
    if value is None:
        return "never"
    if digits:
        return format(value * factor, digits)
    return f"{value * factor:,.0f}" if abs(value * factor) >= 100 else f"{value * factor:.3g}"
