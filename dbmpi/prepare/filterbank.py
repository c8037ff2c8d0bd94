"""Log mel energies of speech, as Kaldi computes them by default but for `dither`.

S. Young et al., "The HTK Book" 3.4, sections 5.2 and 5.6 (pre-emphasis, mel filters); D. Povey et al., "The
Kaldi Speech Recognition Toolkit", 2011 (its window, and frames that lie wholly within the signal).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dbmpi.arrays import Array

PRE_EMPHASIS = 0.97
AT_A_TIME = 1024  # frames, some 10 MB
LOWEST_HZ = 20.0
LEAST_ENERGY = np.finfo(np.float32).eps  # whose logarithm stands for silence


@dataclass(frozen=True)
class FilterBank:
    """Turns a signal into frames of `bins` log mel energies.

    Attributes
    ----------
    rate
        Samples a second.
    frame_s, step_s
        Length of a frame, and from one to the next, in seconds.
    bins
        Mel filters, from `LOWEST_HZ` to half the rate.
    """

    rate: int
    frame_s: float = 0.025
    step_s: float = 0.010
    bins: int = 40

    @property
    def frame(self) -> int:
        """Samples in a frame."""
        return int(self.rate * self.frame_s)

    @property
    def step(self) -> int:
        """Samples from one frame to the next."""
        return int(self.rate * self.step_s)

    def frames(self, samples: int) -> int:
        """Return how many whole frames a signal has."""
        return max(0, 1 + (samples - self.frame) // self.step)

    def energies(self, signal: Array) -> Array:
        """Return the features of a signal of 16-bit values, float32 (frames, bins).

        Notes
        -----
        Of each frame: minus its mean; s'[t] = s[t] - 0.97 s[t-1]; Povey's window (0.5 - 0.5 cos)^0.85; the
        power spectrum; triangular filters in mel; the natural logarithm.
        """
        count = self.frames(len(signal))
        found = np.empty((count, self.bins), np.float32)
        for first in range(0, count, AT_A_TIME):  # so that an hour of sound fits into memory
            found[first : first + AT_A_TIME] = self._some(signal, first, min(first + AT_A_TIME, count))
        return found

    def _some(self, signal: Array, first: int, last: int) -> Array:
        """Return the features of frames from `first` to before `last`."""
        starts = self.step * np.arange(first, last)[:, None]
        frames = signal[starts + np.arange(self.frame)].astype(np.float64)
        frames -= frames.mean(axis=1, keepdims=True)
        frames[:, 1:] -= PRE_EMPHASIS * frames[:, :-1].copy()
        frames[:, 0] *= 1 - PRE_EMPHASIS
        spectrum = np.abs(np.fft.rfft(frames * self._window, self._size, axis=1)) ** 2
        found: Array = np.log(np.maximum(spectrum[:, :-1] @ self._filters.T, LEAST_ENERGY)).astype(np.float32)
        return found

    @property
    def _size(self) -> int:
        """Samples of the transform: the next power of two."""
        return 1 << (self.frame - 1).bit_length()

    @cached_property
    def _window(self) -> Array:
        turn = 2 * np.pi * np.arange(self.frame) / (self.frame - 1)
        window: Array = (0.5 - 0.5 * np.cos(turn)) ** 0.85
        return window

    @cached_property
    def _filters(self) -> Array:
        """Weights of the spectrum in each filter, (bins, size / 2)."""
        edges = np.linspace(_mel(LOWEST_HZ), _mel(self.rate / 2), self.bins + 2)
        mel = _mel(self.rate / self._size * np.arange(self._size // 2))
        left, centre, right = (edges[i : i + self.bins, None] for i in range(3))
        rising, falling = (mel - left) / (centre - left), (right - mel) / (right - centre)
        weights: Array = np.clip(np.minimum(rising, falling), 0, None)
        return weights


def _mel(hz: float | Array) -> Array:
    found: Array = 1127.0 * np.log1p(np.asarray(hz) / 700.0)
    return found


def stacked(frames: Array, context: int, rows: int) -> Iterator[Array]:
    """Yield frames with those before and after them, `rows` at a time: (rows, (2 context + 1) bins).

    Before the first and after the last one, these are repeated.
    """
    padded = np.pad(frames, ((context, context), (0, 0)), mode="edge")
    for first in range(0, len(frames), rows):
        count = min(rows, len(frames) - first)
        views = [padded[first + start : first + start + count] for start in range(2 * context + 1)]
        yield np.concatenate(views, axis=1)
