"""A file of lines that grows while a run goes on, on a disk that may be full or slow for a while."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from queue import Queue

from dbmpi.files import writing
from dbmpi.text import several

LONGEST_LINE = 1 << 20  # bytes: no record comes near
MOST_BYTES = 16 << 20  # of lines that wait for the disk
PAUSE_S = 0.05  # between two writes: a thread that wakes for each line takes the processor from who computes


class LineFile:
    """Appends whole lines, by a thread; those that cannot be written wait in memory, and go with a later one.

    Parameters
    ----------
    path
        The file. The end of a line that was never finished is removed.
    warn
        Says that lines cannot be written, once until they can again. Called in the thread.

    Raises
    ------
    UserError
        It cannot be opened: see `writing`.
    """

    def __init__(self, path: Path, warn: Callable[[str], None]) -> None:
        self._path, self._warn = path, warn
        self._lines: Queue[bytes | None] = Queue()  # None: no more
        self._changing, self._closed = threading.Lock(), False
        self._accepted = self._sent = 0  # bytes
        self._waiting, self._failing, self.lost = b"", False, 0
        self._hurry = threading.Event()  # somebody waits
        with writing(path):
            self._descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
            _remove_unfinished(self._descriptor)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def write(self, line: str, soon: bool = False) -> None:
        """Append a line, which ends with a newline. As `append`."""
        self.append(line.encode(), soon)

    def append(self, text: bytes, soon: bool = False) -> None:
        """Append what stays together. Does not wait; from any thread.

        It is lost while 16 MiB wait, when the file is closed, and where the process is killed before it is
        written: within `PAUSE_S`, or at once if it is wanted `soon`.
        """
        with self._changing:
            if self._closed or self._accepted - self._sent + len(text) > MOST_BYTES:
                self.lost += 1
                text = b""  # but try to write what waits
            if not self._closed:
                self._accepted += len(text)
                self._lines.put(text)
                if soon:
                    self._hurry.set()

    def flush(self) -> None:
        """Wait until what was written is in the file, or waits for a disk that is full."""
        self._hurry.set()
        self._lines.join()

    def close(self) -> None:
        """Close the file; what cannot be written now is lost."""
        with self._changing:
            if self._closed:
                return
            self._closed = True
            self._lines.put(b"")  # what waits is tried once more
            self._lines.put(None)
            self._hurry.set()
        self._thread.join()
        try:
            os.close(self._descriptor)
        except OSError as error:
            self._warn(f"{self._path} cannot be written: {error.strerror}")
        self.lost += self._waiting.count(b"\n")
        if self.lost:
            self._warn(f"{self._path} lacks {several(self.lost, 'record')}")

    def _run(self) -> None:
        taken: list[bytes | None] = []
        while None not in taken:
            taken = [self._lines.get()]
            while not self._lines.empty():
                taken.append(self._lines.get())
            self._waiting += b"".join(text for text in taken if text is not None)
            self._try_to_send()
            for _ in taken:
                self._lines.task_done()
            self._hurry.wait(PAUSE_S)
            self._hurry.clear()

    def _try_to_send(self) -> None:
        try:
            self._send()
        except OSError as error:
            if not self._failing:
                self._warn(f"{self._path} cannot be written: {error.strerror}; its records wait in memory")
            self._failing = True

    def _send(self) -> None:
        while self._waiting:
            sent = os.write(self._descriptor, self._waiting)
            self._waiting = self._waiting[sent:]
            self._sent += sent
        if self._failing:
            self._failing = False
            self._warn(f"{self._path} can be written again, and has what waited")


def _remove_unfinished(descriptor: int) -> None:
    """Cut a file to its last whole line."""
    size = os.fstat(descriptor).st_size
    begin = max(0, size - LONGEST_LINE)
    end = begin + os.pread(descriptor, size - begin, begin).rfind(b"\n") + 1
    if end < size:
        os.truncate(descriptor, end)
