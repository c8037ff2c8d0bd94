"""Points that are left out, and numbers as they are written."""

import numpy as np
import pytest

from dbmpi.report import numbers
from dbmpi.report.html.data import rounded
from dbmpi.report.thin import thinned


def test_peaks_of_every_column_stay() -> None:
    rng = np.random.default_rng(1)
    columns = [rng.normal(size=100_000) for _ in range(3)]
    columns[0][54_321], columns[2][777] = 50.0, -50.0
    kept = thinned(columns, 600)
    assert len(kept) <= 600 and {0, 777, 54_321, 99_999} <= set(kept.tolist())
    assert (np.diff(kept) > 0).all()
    edges = np.linspace(0, 100_000, 101).astype(int)
    for first, stop in zip(edges[:-1], edges[1:], strict=True):
        assert np.any((kept >= first) & (kept < stop))


def test_few_points_all_stay_and_what_is_not_finite_hides_no_peak() -> None:
    assert thinned([np.arange(5.0)], 5).tolist() == [0, 1, 2, 3, 4]
    values = np.full(1000, np.nan)
    values[400], values[401] = 7.0, np.inf
    assert 400 in thinned([values], 20)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.0, "0 ms"),
        (0.25, "250 ms"),
        (59.5, "59.5 s"),
        (3700, "1 h 1 min"),
        (90000, "1 d 1 h"),
        (np.nan, "–"),
    ],
)
def test_durations(value: float, said: str) -> None:
    assert numbers.seconds(value) == said


def test_numbers_of_the_script_are_short_and_finite() -> None:
    assert rounded(np.array([1 / 3, 2.0, np.inf, np.nan, 1e300]), 4) == [0.3333, 2, None, None, 1e300]
    assert numbers.number(1e300) == "1e+300" and numbers.number(1234567.0) == "1,234,567"
    assert numbers.number(np.inf) == "infinite" and numbers.percent(0.12345) == "12.3%"
