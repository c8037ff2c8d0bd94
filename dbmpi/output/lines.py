"""A file of lines that grows while a run goes on, on a disk that may be full for a while."""

import os
from collections.abc import Callable
from pathlib import Path

from dbmpi.files import writing

LONGEST_LINE = 1 << 20  # bytes: no record comes near
MOST_BYTES = 16 << 20  # of lines that wait for the disk


class LineFile:
    """Appends whole lines; those that cannot be written wait in memory, and go with a later one. Local.

    Parameters
    ----------
    path
        The file. The end of a line that was never finished is removed.
    warn
        Says that lines cannot be written, once until they can again.

    Raises
    ------
    UserError
        It cannot be opened: see `writing`.
    """

    def __init__(self, path: Path, warn: Callable[[str], None]) -> None:
        self._path, self._warn = path, warn
        self._waiting, self._failing, self.lost = b"", False, 0
        with writing(path):
            _remove_unfinished(path)
            self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)

    def write(self, line: str) -> None:
        """Append a line, which ends with a newline; after 16 MiB of lines that wait, it is lost."""
        text = line.encode()
        if len(self._waiting) + len(text) > MOST_BYTES:
            self.lost += 1
        else:
            self._waiting += text
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
        if self._failing:
            self._failing = False
            self._warn(f"{self._path} can be written again, and has what waited")

    def close(self) -> None:
        """Close the file; what cannot be written now is lost."""
        try:
            self._send()
            os.close(self._descriptor)
        except OSError as error:
            self.lost += self._waiting.count(b"\n")
            self._warn(f"{self._path} cannot be written: {error.strerror}")
        if self.lost:
            self._warn(f"{self._path} lacks {self.lost} records")


def _remove_unfinished(path: Path) -> None:
    """Cut a file to its last whole line."""
    with path.open("ab+") as file:
        begin = max(0, file.seek(0, os.SEEK_END) - LONGEST_LINE)
        file.seek(begin)
        end = begin + file.read().rfind(b"\n") + 1
        if end < file.tell():
            file.truncate(end)
