"""Warnings of inputs and targets whose sizes do not suit a network."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from dbmpi.data.describe import describe

ROWS = 200


def warnings(folder: Path, x: np.ndarray, y: np.ndarray | None = None, scale: float = 1.0) -> tuple[str, ...]:
    """Return what is said of a file with these examples in both splits."""
    path = folder / "sizes.h5"
    with h5py.File(path, "w") as file:
        for name in ("train", "test"):
            file[f"{name}/x"], file[f"{name}/y"] = x, np.arange(len(x)) % 2 if y is None else y
            file[f"{name}/x"].attrs["scale"] = scale
    return describe(path).warnings


def normal(*sizes: float) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(ROWS, len(sizes))).astype(np.float32) * np.float32(sizes)


def test_standardized_columns_are_fine_and_one_that_is_constant_says_nothing(tmp_path: Path) -> None:
    assert warnings(tmp_path, normal(1, 0.5, 20, 0), normal(3)) == ()


def test_columns_of_far_different_sizes(tmp_path: Path) -> None:
    (text,) = warnings(tmp_path, normal(1, 0.1, 500))
    assert "train/x has columns of standard deviations from 0.091 to 4.7e+02; set data.scaling" in text


@pytest.mark.parametrize(("scale", "size"), [(1.0, "1e+03"), (0.01, ""), (1e-5, "0.01")])
def test_columns_that_are_large_or_small_as_they_are_scaled(tmp_path: Path, scale: float, size: str) -> None:
    found = warnings(tmp_path, normal(1, 1) + 1000, scale=scale)
    assert [f"train/x has columns of size {size}; set data.scaling" in text for text in found] == [
        True
    ] * bool(size)


def test_targets_that_are_small_or_far_from_zero(tmp_path: Path) -> None:
    (text,) = warnings(tmp_path, normal(1), normal(3, 0.1))
    assert "train/y has targets of standard deviation 0.09" in text
    (text,) = warnings(tmp_path, normal(1), normal(3, 1) + np.float32([150, 0]))
    assert "train/y has targets of means up to 1.5e+02" in text
    assert warnings(tmp_path, normal(1), normal(150) + 150) == ()


def test_images_and_bytes_are_of_one_size(tmp_path: Path) -> None:
    rare = np.zeros((ROWS, 4, 4), np.uint8)
    rare[0, 0, 0], rare[::2, 1, 1] = 1, 255
    assert warnings(tmp_path, rare) == warnings(tmp_path, rare.reshape(ROWS, 16)) == ()
    assert warnings(tmp_path, rare.astype(np.float32)) == ()


def suiting(folder: Path, x: np.ndarray, y: np.ndarray | None = None, **attributes: float) -> str:
    """Return what "auto" makes of a file with these examples in both splits."""
    path = folder / "sizes.h5"
    with h5py.File(path, "w") as file:
        for name in ("train", "test"):
            file[f"{name}/x"], file[f"{name}/y"] = x, np.arange(len(x)) % 2 if y is None else y
            file[f"{name}/x"].attrs.update(attributes)
    return describe(path).suiting


BYTES = np.random.default_rng(2).integers(0, 256, (ROWS, 16), np.uint8)
IMAGES = BYTES.reshape(ROWS, 4, 4)
AMOUNTS = np.linspace(0, 1, ROWS)


@pytest.mark.parametrize(
    ("x", "y", "attributes", "mode"),
    [
        (normal(1, 500), None, {}, "columns"),
        (normal(1, 500), None, {"scale": 1.0, "offset": 0.0}, "columns"),  # as dbmpi.prepare writes them
        (normal(1, 500), AMOUNTS, {}, "columns"),
        (normal(1, 500), None, {"scale": 0.1}, "none"),
        (normal(1, 500), AMOUNTS, {"scale": 0.1}, "all"),
        (BYTES, None, {}, "none"),
        (BYTES // 15, None, {}, "columns"),
        (BYTES // 15, None, {"scale": 1 / 16}, "none"),
        (IMAGES, None, {}, "none"),
        (IMAGES, AMOUNTS, {}, "all"),
        (IMAGES // 30, None, {}, "all"),
        (IMAGES / 255, None, {}, "none"),
        (IMAGES.astype("f4"), None, {}, "all"),
        (IMAGES.astype("f4"), None, {"scale": 1 / 255}, "none"),
        (IMAGES, np.stack([AMOUNTS, AMOUNTS], axis=1) > 0.5, {}, "none"),
        (np.where(np.arange(ROWS)[:, None] == 100, np.nan, normal(1)), None, {}, "columns"),
    ],
)
def test_what_suits_features_that_nobody_has_scaled_pixels_and_amounts(
    tmp_path: Path, x: np.ndarray, y: np.ndarray | None, attributes: dict[str, float], mode: str
) -> None:
    assert suiting(tmp_path, x, y, **attributes) == mode


def test_a_value_that_is_not_finite_is_left_to_those_who_read_it(tmp_path: Path) -> None:
    x = normal(1, 500000)
    x[100, 0] = np.nan
    assert warnings(tmp_path, x) == ()


@pytest.mark.parametrize(("rows", "columns"), [(10, 4), (40, 60_000)])
def test_a_few_rows_say_nothing_of_many_columns(tmp_path: Path, rows: int, columns: int) -> None:
    assert warnings(tmp_path, np.random.default_rng(1).normal(size=(rows, columns)).astype(np.float32)) == ()
