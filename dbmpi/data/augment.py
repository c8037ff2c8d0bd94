"""Training images as they are not in the file: mirrored, and shifted. Pure.

What is done with an image is a function of the seed, the epoch and its row alone, so all partitions of a
replica do the same, and a run that goes on. Letters: N rows, B minibatch, H rows, W columns, C channels.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbmpi.arrays import Array
from dbmpi.layout.boxes import Box

_STEP, _FIRST, _SECOND = (
    np.uint64(one) for one in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)


@dataclass(frozen=True)
class Augmentation:
    """What may be done with an image.

    Attributes
    ----------
    flip
        Half of the images are mirrored, left to right.
    shift
        Each is moved by up to so many rows and columns either way; what comes in repeats the edge.
    seed
        Of the draws.
    """

    flip: bool
    shift: int
    seed: int

    def cut(self, raw_NHWC: Array, at_B: Array, epoch: int, rows_B: Array, tile: Box) -> Array:
        """Return a tile of some images as they are in an epoch: (B, rows, columns, channels) of the tile.

        Parameters
        ----------
        raw_NHWC
            Whole images, as stored.
        at_B, rows_B
            Which of them, and their rows in the training set.
        tile
            ((h0, h1), (w0, w1), (c0, c1)).
        """
        drawn_B = draws(self.seed, epoch, rows_B)
        (top, bottom), (left, right), channels = tile
        height, width = raw_NHWC.shape[1:3]
        down_B, across_B = (self._moves(drawn_B >> np.uint64(bits)) for bits in (1, 32))
        rows_Bh = np.clip(np.arange(top, bottom) + down_B[:, None], 0, height - 1)
        columns_Bw = np.clip(np.arange(left, right) + across_B[:, None], 0, width - 1)
        if self.flip:
            mirrored_B = (drawn_B & np.uint64(1)).astype(bool)
            columns_Bw[mirrored_B] = width - 1 - columns_Bw[mirrored_B]
        return raw_NHWC[at_B[:, None, None], rows_Bh[:, :, None], columns_Bw[:, None, :], slice(*channels)]

    def _moves(self, drawn_B: "NDArray[np.uint64]") -> "NDArray[np.int64]":
        """Return a number from -shift to shift of each draw."""
        found = (drawn_B & np.uint64(0x7FFFFFFF)) % np.uint64(2 * self.shift + 1)
        return found.astype(np.int64) - self.shift


def draws(seed: int, epoch: int, rows_B: Array) -> "NDArray[np.uint64]":
    """Return 64 random bits for each row in an epoch, by two steps of SplitMix64 (Steele et al. 2014)."""
    found: Any = np.full(len(rows_B), seed % 2**64, np.uint64)
    with np.errstate(over="ignore"):
        for number in (np.uint64(epoch), rows_B.astype(np.uint64)):
            found = found + (number + np.uint64(1)) * _STEP
            found = (found ^ (found >> np.uint64(30))) * _FIRST
            found = (found ^ (found >> np.uint64(27))) * _SECOND
            found = found ^ (found >> np.uint64(31))
    return np.asarray(found, np.uint64)
