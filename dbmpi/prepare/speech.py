"""Speech: frames of recordings, each with its neighbours, and the state that is spoken in it."""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from dbmpi.arrays import Array
from dbmpi.errors import UserError
from dbmpi.prepare import regular
from dbmpi.prepare.filterbank import FilterBank, stacked
from dbmpi.prepare.labels import Codes, in_order
from dbmpi.prepare.pool import mapped
from dbmpi.prepare.recordings import Recording, samples, signal
from dbmpi.prepare.source import TRAIN, Batch, Layout, batch_rows, smallest_dtype
from dbmpi.text import several, show

TASK = 16  # recordings in a task of a process
LEAST_HZ, MOST_HZ = 2000, 768_000
MOST_LABEL_BYTES = 1000  # of one frame


class SpeechSource:
    """Frames of recordings.

    Parameters
    ----------
    recordings
        All of one rate; a recording is in one split.
    context
        Frames before and after each, which are inputs too.
    states
        Parts of equal length of each recording, which are classes of their own.
    frame_labels
        Folder of a text NAME.txt for each recording NAME.wav, with a label for each frame; None where the
        recordings have labels.
    jobs
        Processes that compute.
    files
        What the recordings are listed by.

    Raises
    ------
    UserError
        A recording cannot be read, has another rate, or no label.
    """

    def __init__(
        self,
        recordings: Sequence[Recording],
        context: int,
        states: int,
        frame_labels: Path | None,
        jobs: int,
        files: Sequence[Path],
    ) -> None:
        self._recordings, self._context, self._states = recordings, context, states
        self._frame_labels, self._jobs, self.files = frame_labels, jobs, files
        self._codes, self._groups = Codes(), Codes()
        if not recordings:
            raise UserError(f"{files[0]}: lists no recording; give one in each line below the first")
        rate, _ = samples(recordings[0].path)
        if not LEAST_HZ <= rate <= MOST_HZ:
            raise UserError(
                f"{recordings[0].path}: has {rate} samples a second, not from {LEAST_HZ} to {MOST_HZ}; "
                "convert it, as by: sox IN -r 16000 OUT.wav"
            )
        self._bank = FilterBank(rate)
        self.expected: dict[str, int] = Counter()
        for one in recordings:
            self.expected[one.split] += self._bank.frames(self._checked(one, rate))
        self._names = in_order({one.label for one in recordings if one.split == TRAIN})
        self._check_labels()
        self._width = self._bank.bins * (2 * context + 1)
        self.record = np.dtype([("x", np.float32, (self._width,)), ("y", np.int32), ("group", np.int32)])

    def _checked(self, one: Recording, rate: int) -> int:
        """Return the samples of a recording of the right rate."""
        own, count = samples(one.path)
        if own != rate:
            raise UserError(
                f"{one.path}: has {own} samples a second, {self._recordings[0].path} {rate}; convert it, "
                f"as by: sox IN -r {rate} OUT.wav"
            )
        if not self._bank.frames(count):
            raise UserError(f"{one.path}: is shorter than one frame of 25 ms; leave it out")
        return count

    def _check_labels(self) -> None:
        if self._frame_labels is not None:
            return
        for one in self._recordings:
            if not one.label:
                raise UserError(
                    f"{one.path}: has no label; put the recordings of each label into a folder of its "
                    "name, or give --names, --frame-labels or a CSV"
                )
            if one.label not in self._names:
                raise UserError(
                    f"{one.path}: no recording to train with has the label {show(one.label)}; add some"
                )

    def batches(self) -> Iterator[Batch]:
        """Yield all frames, a recording at a time."""
        starts = range(0, len(self._recordings), TASK)
        tasks = ([one.path for one in self._recordings[start : start + TASK]] for start in starts)
        done = mapped(partial(features, bank=self._bank), tasks, self._jobs)
        frames = (one for some in done for one in some)
        for recording, found in zip(self._recordings, frames, strict=True):
            labels, first = self._labels(recording, len(found)), 0
            for x in stacked(found, self._context, batch_rows(self.record)):
                records = np.empty(len(x), self.record)
                records["x"], records["y"] = x, labels[first : first + len(x)]
                records["group"] = self._groups[recording.group]
                first += len(x)
                yield recording.split, records

    def _labels(self, recording: Recording, frames: int) -> Array | list[int]:
        """Return the label of each frame."""
        if self._frame_labels is None:
            state = np.arange(frames) * self._states // frames
            return self._names.index(recording.label) * self._states + state
        path = self._frame_labels / f"{recording.path.stem}.txt"
        try:
            with regular.opened(path) as file:
                found = file.read(MOST_LABEL_BYTES * (frames + 1)).decode().split()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(
                f"{path}: the labels of {recording.path} cannot be read as UTF-8: {regular.reason(error)}"
            ) from error
        if len(found) != frames:
            raise UserError(
                f"{path}: has {several(len(found), 'label')}, but {recording.path} {several(frames, 'frame')}"
            )
        return [self._codes[one] for one in found]

    def layout(self) -> Layout:
        """Return that frames are kept as they are."""
        names, places = self._classes()
        dtype = smallest_dtype(len(names))
        about = f"{self._bank.bins} log mel energies of 25 ms every 10 ms, {2 * self._context + 1} frames"
        return Layout(
            x_shape=(self._width,),
            x_dtype=np.dtype(np.float32),
            y_shape=(),
            y_dtype=dtype,
            convert=lambda records: (records["x"], places[records["y"]].astype(dtype)),
            class_names=names,
            notes={"features": about, "rate": f"{self._bank.rate} Hz"},
        )

    def _classes(self) -> tuple[tuple[str, ...], Array]:
        """Return the names of the classes in order, and the label of each number in the records."""
        if self._frame_labels is not None:
            return self._codes.ordered()
        states = range(1, self._states + 1)
        names = tuple(
            f"{name} {state}/{self._states}" if self._states > 1 else name
            for name in self._names
            for state in states
        )
        return names, np.arange(len(names))


def features(paths: Sequence[Path], bank: FilterBank) -> list[Array]:
    """Return the features of recordings, float32 (frames, bins) each. Raises UserError."""
    return [bank.energies(signal(path)) for path in paths]
