"""Geometries and arrays for the tests of windowed layers: rectangles cut out of buffers full of NaN."""

from typing import NamedTuple

import numpy as np
import pytest


class Geometry(NamedTuple):
    """A rectangle of a windowed layer: input, output, window, stride, offset."""

    x: tuple[int, int]
    y: tuple[int, int]
    window: tuple[int, int]
    C: int = 1
    F: int = 1
    B: int = 1
    stride: tuple[int, int] = (1, 1)
    offset: tuple[int, int] = (0, 0)

    @property
    def steps(self) -> tuple[int, int, int, int]:
        return (*self.stride, *self.offset)


GEOMETRIES = [
    Geometry((5, 6), (5, 6), (1, 1)),
    Geometry((9, 7), (5, 7), (3, 4), 3, 2, 5, (2, 1), (-1, -2)),
    Geometry((6, 8), (6, 8), (3, 3), 2, 5, 7, offset=(-1, -1)),
    Geometry((10, 9), (4, 4), (2, 1), 2, 9, 16, (3, 2), (0, 1)),  # rows that no window reads
    Geometry((3, 4), (5, 4), (7, 9), 3, 13, 33, (1, 2), (-4, -5)),  # windows larger than the image
    Geometry((4, 4), (12, 3), (2, 2), 2, 3, 3, (1, 3), (-5, 2)),  # windows wholly outside
    Geometry((6, 5), (4, 3), (3, 3), 8, 16, 100),
    Geometry((5, 5), (2, 3), (4, 3), 5, 6, 81),
    Geometry((4, 4), (0, 3), (2, 2), 2, 3, 3),  # a partition without a share
    Geometry((5, 1), (3, 1), (3, 1), 4, 4, 64),
]
# Without a share in one type alone: NumPy calls empty arrays contiguous, and kernels are compiled anew.
CASES = [
    pytest.param(g, dtype, id=f"g{n}-{dtype.__name__}")
    for n, g in enumerate(GEOMETRIES)
    for dtype in (np.float32, np.float64)
    if 0 not in g.y or dtype is np.float64
]


def rectangle(shape: tuple[int, ...], dtype: type, fill: np.ndarray | float = np.nan) -> np.ndarray:
    """Return an array cut out of a larger one, which is NaN all around."""
    buffer = np.full((shape[0] + 3, shape[1] + 5, *shape[2:]), np.nan, dtype)
    view = buffer[1:-2, 2:-3]
    view[:] = fill
    return view


def untouched(view: np.ndarray) -> bool:
    """Say whether what lies around a rectangle is NaN still, and nothing within it is."""
    return np.isnan(view.base).sum() == view.base.size - view.size and not np.isnan(view).any()


def arrays(g: Geometry, dtype: type, *, shared: bool, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Return x, w, b and dz of a geometry; x and dz are rectangles."""
    random = np.random.default_rng(seed)
    per = () if shared else g.y
    x = rectangle((*g.x, g.C, g.B), dtype, random.normal(size=(*g.x, g.C, g.B)))
    w = random.normal(size=(*per, g.F, *g.window, g.C)).astype(dtype)
    b = random.normal(size=(*per, g.F)).astype(dtype)
    dz = rectangle((*g.y, g.F, g.B), dtype, random.normal(size=(*g.y, g.F, g.B)))
    return x, w, b, dz


def assert_near(mine: np.ndarray, right: np.ndarray, tolerance: float | None = None) -> None:
    """Compare within so much of the largest element."""
    tolerance = tolerance or (5e-6 if mine.dtype == np.float32 else 1e-13)
    np.testing.assert_allclose(mine, right, rtol=0, atol=tolerance * max(1, np.abs(right).max(initial=0)))


def pieces(n: int, parts: int) -> list[tuple[int, int]]:
    """Cut [0, n) into parts of uneven size."""
    edges = [0, *sorted({n * p // parts + p % 2 for p in range(1, parts)}), n]
    return list(zip(edges, edges[1:], strict=False))
