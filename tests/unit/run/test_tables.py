"""Tables, and the quantities in them, as text."""

from dbmpi.run import tables


def test_units_of_bytes() -> None:
    written = [tables.quantity(n) for n in (0, 1, 999, 1000, 38440, 999_499, 999_500, 10**6, 123_456_789_000)]
    assert written == ["-", "1 B", "999 B", "1.00 kB", "38.4 kB", "999 kB", "1.00 MB", "1.00 MB", "123 GB"]


def test_consecutive_ranks_are_a_span() -> None:
    assert tables.spans([2, 3, 4, 5, 9]) == "2-5, 9"
    assert tables.spans([0]) == "0" and tables.spans([]) == ""


def test_columns_are_aligned() -> None:
    text = tables.table(["role", "ranks"], [["coordinator", "0"], ["shards", "1-12"]])
    assert text.splitlines() == [
        "role         ranks",
        "-----------  -----",
        "coordinator      0",
        "shards        1-12",
    ]
