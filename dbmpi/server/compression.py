"""Gradients on their way: in the model's precision, or in 16 bits with error feedback.

What rounding takes from a gradient is added to the next one before that is rounded, so that the sum
of what arrives stays within one rounding of the sum of what was computed.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from dbmpi.arrays import Array
from dbmpi.comm.protocol import WIRE_DTYPES
from kernels.parameters import compression

_ENCODE = {"bfloat16": "encode_bf16", "float16": "encode_f16"}
_DECODE = {"bfloat16": "decode_bf16", "float16": "decode_f16"}
COMPRESSED = frozenset(_DECODE)  # others travel as they are


class Encoder:
    """Makes the messages of one partition's gradients.

    Parameters
    ----------
    wire
        "float32", "float64", "bfloat16" or "float16".
    size
        Length of the gradient.
    room
        Makes the vector that travels, of a length and a dtype.
    """

    def __init__(self, wire: str, size: int, room: Callable[[int, np.dtype[Any]], Array] = np.empty) -> None:
        self.wire = wire
        self._message = room(size if wire in _ENCODE else 0, WIRE_DTYPES[wire])
        self._residual = np.zeros(len(self._message), np.float32)

    def encode(self, gradient: Array) -> Array:
        """Return what travels for `gradient`: itself, or its 16-bit message (overwritten by the next)."""
        if self.wire not in _ENCODE:
            return gradient
        getattr(compression, _ENCODE[self.wire])(gradient, self._residual, self._message)
        return self._message

    def forget(self) -> None:
        """Drop the rest that would be added to the next gradient."""
        self._residual[...] = 0


def decode(raw: Array, wire: str, out: Array) -> Array:
    """Return the gradient that `raw` carries: `raw` itself, or `out`, overwritten."""
    if wire not in _DECODE:
        return raw
    getattr(compression, _DECODE[wire])(raw, out)
    return out


def wire_of(setting: str, dtype: np.dtype[Any]) -> str:
    """Return the wire precision: `downpour.wire`, or float64 for a float64 model that sends in full."""
    return dtype.name if setting == "float32" else setting
