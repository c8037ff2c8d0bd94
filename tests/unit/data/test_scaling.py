"""Standardization: against numpy, in parts of any size, and from the training set alone."""

import itertools
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from dbmpi.data import scaling
from dbmpi.data.describe import describe
from dbmpi.data.factors import Scaling, array, of_box
from dbmpi.data.moments import Moments
from dbmpi.data.split import Split
from dbmpi.errors import UserError

RNG = np.random.default_rng(3)
X = (RNG.normal(size=(70, 4, 3)) * [1, 1e3, 0.01] + [5, -1e6, 0]).astype(np.float64)
X[:, 2, 1] = 0.1  # constant


def written(path: Path, x: Any = X, y: Any = None, **attributes: Any) -> Path:
    """Write a file whose test set is nothing like its training set."""
    with h5py.File(path, "w") as file:
        for name, factor in (("train", 1), ("test", 1000)):
            stored = file.create_dataset(f"{name}/x", data=x * factor)
            stored.attrs.update(attributes)
            file[f"{name}/y"] = np.arange(len(x)) % 2 if y is None else y * factor
    return path


def measured(path: Path, mode: str) -> Scaling:
    with Split(path, "train") as train:
        return scaling.measure(train, mode)


def seen(found: Scaling, x: Any = X) -> Any:
    """Return what the network would see."""
    scale, offset = (array(one, x.shape[1:]) for one in found.of_inputs)
    return x * scale + offset


@pytest.mark.parametrize("values", [1 << 20, 50, 1])  # read at a time
@pytest.mark.parametrize("attributes", [{}, {"scale": -0.5, "offset": 3.0}, {"scale": [1.0, 2.0, 3.0]}])
def test_each_column_of_the_training_set_has_mean_0_and_deviation_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: int, attributes: dict[str, Any]
) -> None:
    monkeypatch.setattr(scaling, "READ_VALUES", values)
    z = seen(measured(written(tmp_path / "a.h5", **attributes), "columns"))
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-8)
    deviations = z.std(axis=0)
    assert deviations[2, 1] < 1e-8  # the constant one is 0, not divided by rounding
    deviations[2, 1] = 1
    np.testing.assert_allclose(deviations, 1, rtol=1e-9)


@pytest.mark.parametrize(
    ("values", "most", "rows", "stretches"),
    [(60, 600, 1600, 10), (60, 60, 1600, 2), (1, 6, 1600, 2), (1, 6, 1, 1), (60, 19200, 1600, 320)],
)
def test_of_a_very_large_set_stretches_are_read_that_are_spread_over_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: int, most: int, rows: int, stretches: int
) -> None:
    monkeypatch.setattr(scaling, "READ_VALUES", values)
    monkeypatch.setattr(scaling, "MOST_VALUES", most, raising=False)
    x, path = np.arange(rows)[:, None] * np.ones((1, 12)), tmp_path / "a.h5"  # sorted, as by time
    read, ranges = Split.read, list[tuple[int, int]]()
    monkeypatch.setattr(Split, "read", lambda split, given: ranges.extend(given) or read(split, given))
    found = measured(written(path, x, y=np.arange(rows) * 1.0), "columns")
    assert len(ranges) == stretches and (ranges[0][0], ranges[-1][1]) == (0, rows)
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(ranges))
    assert np.abs(seen(found, x).mean()) < 0.01 and (stretches < 3 or 0.8 < seen(found, x).std() < 1.2)


def test_one_mean_and_deviation_for_all_columns_are_two_numbers(tmp_path: Path) -> None:
    found = measured(written(tmp_path / "a.h5", scale=0.5, offset=3.0), "all")
    assert len(found.scale) == 1
    assert seen(found).mean() == pytest.approx(0, abs=1e-9) and seen(found).std() == pytest.approx(1)


def test_targets_have_numbers_of_their_own(tmp_path: Path) -> None:
    y = (RNG.normal(size=(70, 3)) * [1, 50, 0] + [1e4, 0, 7]).astype(np.float32)
    found = measured(written(tmp_path / "a.h5", y=y), "all")
    z = y * np.array(found.target_scale) + np.array(found.target_offset)
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(z.std(axis=0), [1, 1, 0], atol=1e-5)


def test_it_is_the_same_from_json_to_the_last_digit(tmp_path: Path) -> None:
    found = measured(written(tmp_path / "a.h5"), "columns")
    assert Scaling.from_json(found.to_json()) == found


def test_moments_of_parts_are_those_of_the_whole() -> None:
    values = RNG.normal(size=(50, 2)) + 1e8
    moments = Moments()
    for part in np.split(values, [1, 30]):
        moments.add(part)
    np.testing.assert_allclose(moments.mean_C, values.mean(axis=0), rtol=1e-15)
    np.testing.assert_allclose(moments.deviation_C, values.std(axis=0), rtol=1e-6)
    assert moments.together().deviation_C == pytest.approx(values.std(), rel=1e-6)


@pytest.mark.parametrize("given", [[1.0, 2.0, 3.0], np.arange(1.0, 13).reshape(4, 3), 2.0])
def test_the_attributes_of_a_file_may_be_of_each_column(tmp_path: Path, given: Any) -> None:
    found = describe(written(tmp_path / "a.h5", scale=given))
    np.testing.assert_array_equal(X * array(found.scale, (4, 3)), X * np.asarray(given))
    tile = of_box(found.scale, (4, 3, 1), ((1, 3), (0, 2), (0, 1)))
    expected = np.broadcast_to(given, (4, 3))[1:3, :2].ravel()
    np.testing.assert_array_equal(np.broadcast_to(tile, 4), expected)


@pytest.mark.parametrize("given", [[1.0, 2.0], [1.0, 0.0, 3.0], [1.0, np.nan, 3.0], ["a", "b", "c"], []])
def test_attributes_that_suit_no_example_are_refused(tmp_path: Path, given: Any) -> None:
    with pytest.raises(UserError, match=r"the attribute scale = .* broadcasts to the shape \(4, 3\)"):
        describe(written(tmp_path / "a.h5", scale=given))
