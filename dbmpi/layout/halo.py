"""Which outputs of a windowed layer can be computed before the halo arrives. Pure, without MPI."""

from dbmpi.layout.boxes import Box, Range, inside, volume
from dbmpi.layout.network import Window


def interior(window: Window, image: tuple[int, ...], own_input: Box, own_output: Box) -> Box:
    """Return the outputs of a tile that read only inputs of the same tile; perhaps none.

    Parameters
    ----------
    image
        Shape (H, W, C) of the layer's input.
    own_input, own_output
        The tile in the input's and in the output's coordinates.
    """
    rows, columns = (_inner(window, axis, image[axis], own_input[axis], own_output[axis]) for axis in (0, 1))
    return rows, columns, own_output[2]


def _inner(window: Window, axis: int, extent: int, own_input: Range, own_output: Range) -> Range:
    fits = [i for i in range(*own_output) if inside((window.inputs(i, i + 1, axis, extent),), (own_input,))]
    return (fits[0], fits[-1] + 1) if fits else (own_output[0], own_output[0])


def border(whole: Box, inner: Box) -> list[Box]:
    """Return the rectangles that make up `whole` without `inner`: above, below, left and right."""
    if not volume(inner):
        return [whole] if volume(whole) else []
    (top, bottom), (left, right), channels = whole
    (first, last), (begin, end), _ = inner
    around: list[Box] = [
        ((top, first), (left, right), channels),
        ((last, bottom), (left, right), channels),
        ((first, last), (left, begin), channels),
        ((first, last), (end, right), channels),
    ]
    return [box for box in around if volume(box)]
