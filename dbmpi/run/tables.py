"""Tables, and the quantities in them, as text. Pure Python."""

from collections.abc import Sequence

UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Align columns: the first `left` at their left, the others at their right."""
    lines = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def interval(start: int, stop: int) -> str:
    """Write a half-open interval: `[0, 50,885)`."""
    return f"[{start:,}, {stop:,})"


def times(shape: Sequence[int]) -> str:
    """Write a shape: `28 x 28 x 1`."""
    return " x ".join(f"{n:,}" for n in shape)


def counted(things: Sequence[object], name: str) -> str:
    """Write how many things there are: `2 layers`."""
    return f"{len(things)} {name}" + "s" * (len(things) != 1)


def spans(ranks: Sequence[int]) -> str:
    """Write ranks as spans: `2-5, 9`."""
    found: list[list[int]] = []
    for rank in ranks:
        if found and rank == found[-1][1] + 1:
            found[-1][1] = rank
        else:
            found.append([rank, rank])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in found)


def quantity(number: int) -> str:
    """Write a number of bytes with three digits: `38.4 kB`."""
    value, unit = float(number), 0
    while value >= 999.5 and unit < len(UNITS) - 1:
        value, unit = value / 1000, unit + 1
    digits = 0 if unit == 0 or value >= 99.95 else 1 if value >= 9.995 else 2
    return f"{value:.{digits}f} {UNITS[unit]}" if number else "-"
