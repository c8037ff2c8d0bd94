"""How numbers are written on the page. Pure."""

import math

UNKNOWN = "–"
LARGEST = 1e18  # with a prefix
_LARGE = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_TIMES = ((86400, "d"), (3600, "h"), (60, "min"))


def number(value: float | None) -> str:
    """Write a number in four digits or so; a whole one whole."""
    if value is None or not math.isfinite(value):
        return UNKNOWN if value is None or math.isnan(value) else "infinite"
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    if abs(value) >= 1000:
        return f"{value:,.0f}" if abs(value) < 1e15 else f"{value:.3g}"
    return f"{value:.4g}"


def short(value: float, unit: str = "") -> str:
    """Write a number in three digits with a prefix: `1.2 M`."""
    if not math.isfinite(value) or abs(value) >= LARGEST:
        return f"{value:.0e} {unit}".rstrip() if math.isfinite(value) else number(value)
    for size, prefix in _LARGE:
        if abs(value) >= size:
            return f"{value / size:.3g} {prefix}{unit}"
    return f"{value:.3g} {unit}".rstrip()


def size(value: float) -> str:
    """Write a number of bytes."""
    return short(value, "B")


def percent(value: float | None) -> str:
    """Write a share."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    return f"{value:.0%}" if value in (0, 1) else f"{value:.1%}"


def seconds(value: float | None) -> str:
    """Write a duration: milliseconds, seconds, or hours and minutes."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    if abs(value) < 1:
        return f"{value * 1e3:.3g} ms"
    if abs(value) < 120:
        return f"{value:.3g} s"
    parts, left = [], int(round(value))
    for length, name in (*_TIMES, (1, "s")):
        count, left = divmod(left, length)
        if count:
            parts.append(f"{count} {name}")
    return " ".join(parts[:2])
