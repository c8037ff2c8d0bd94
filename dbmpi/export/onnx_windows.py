"""The values under each position of a window that slides over an image, by one Gather.

Shape letters: N examples, H W rows and columns, C maps, K sides of the window, P positions.
"""

import numpy as np

from dbmpi.arrays import Array
from dbmpi.export.onnx_graph import SAME, Graph
from dbmpi.layout.network import Layer, Window


def windows(graph: Graph, x: str, layer: Layer) -> str:
    """Return what each position reads, one after another: (N, P K K, C), 0 beyond the image."""
    window, (height, width, maps) = _window(layer), layer.input
    down, right = window.padding
    if down or right:
        pads = [0, down, right, 0, 0, down, right, 0]
        x = graph.add("Pad", x, graph.integers("pads", pads))
    height, width = height + 2 * down, width + 2 * right
    flat = graph.reshape(x, SAME, height * width, maps)
    taps = indices(window, layer.output[:2], width)
    return graph.add("Gather", flat, graph.integers("taps", taps), axis=1)


def indices(window: Window, positions: tuple[int, ...], width: int) -> Array:
    """Return where, in a padded image row by row, the taps of each position are: int64 (P K K,)."""
    at = [
        np.add.outer(stride * np.arange(count), np.arange(size))
        for count, size, stride in zip(positions, window.size, window.stride, strict=True)
    ]
    return (at[0][:, None, :, None] * width + at[1][None, :, None, :]).reshape(-1)


def counts(layer: Layer) -> tuple[int, int]:
    """Return the number of positions, and that of taps under each."""
    rows, columns = layer.output[:2]
    size = _window(layer).size
    return rows * columns, size[0] * size[1]


def _window(layer: Layer) -> Window:
    assert layer.window is not None
    return layer.window
