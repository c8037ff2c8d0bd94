"""Standard output and error that cannot end a run: what cannot be shown is noted, and left out.

A terminal may be gone, a reader may have left (`| head`) or read no more, a disk may be full, and a daemon
has no output at all. Within `screens()` all that is printed, by this program and its libraries, in every
thread and on the failure path, goes through a `Screen`. Within `heard_by` what this thread says goes to a
listener.
"""

import codecs
import errno
import io
import os
import select
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from math import inf
from typing import TextIO, TypeAlias, cast

from dbmpi.errors import STATUS_FAILURE, STATUS_OK

MOST_BYTES = 1 << 20  # that wait for a reader; beyond them nothing is kept
PATIENCE_S = 1.0  # for a reader that does not read, the first time
POLL_S = 5e-4
NAMES = {"stdout": "standard output", "stderr": "standard error"}
STRICT = "strict", "surrogateescape"  # ways to encode that raise
READER_LEFT = errno.EPIPE, errno.ECONNRESET

Listener: TypeAlias = Callable[[str, bool], object]  # gets a line, and whether it is of standard error
_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)
drawn: list[Callable[[], object]] = []  # each takes a line away that is drawn again and again


def say(text: str, error: bool = False) -> None:
    """Print a line on standard output, or on standard error; within `heard_by` give it to the listener."""
    listener = _listener.get()
    if listener is not None:
        listener(text, error)
    else:
        print(text, file=sys.stderr if error else sys.stdout, flush=True)


@contextmanager
def heard_by(listener: Listener) -> Iterator[None]:
    """Let what is said in this thread, and in those that take its context over, go to a listener meanwhile.

    So a run in the process of somebody else prints nothing by itself, however many there are side by side.
    """
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def make_room() -> None:
    """Take away what is drawn again and again, for lines that stay."""
    for erase in list(drawn):
        erase()


class Screen(io.TextIOBase):
    """One of the two streams. Nothing that is written raises, or waits longer than `PATIENCE_S`.

    A thread writes, begun by the first line, or the caller where there can be none; lines go out whole.

    Parameters
    ----------
    name
        How messages call it.
    stream
        What it was before; None where there is none.

    Attributes
    ----------
    problem
        Why something was left out, for the first time; empty while nothing was.
    error
        The `errno` of that, 0 for what is no error of the system.
    """

    def __init__(self, name: str, stream: TextIO | None) -> None:
        self.name, self._stream, self._descriptor = name, stream, _descriptor(stream)
        self._encoding = getattr(stream, "encoding", None) or "utf-8"
        given = getattr(stream, "errors", None) or "strict"
        self._encoder = codecs.getincrementalencoder(self._encoding)(
            "backslashreplace" if given in STRICT else given
        )
        self._changed = threading.Condition()
        self._begun, self._waiting, self._stalled, self._writer = "", b"", False, False
        self._moved = time.monotonic()  # when nothing waited, or some of it went out
        self.problem, self.error = "", 0
        if stream is None:
            self.problem = "there is none"

    @property
    def absent(self) -> bool:
        """Whether there never was such an output."""
        return self._stream is None

    @property
    def encoding(self) -> str:  # type: ignore[override]  # a plain attribute there
        """The encoding of the stream."""
        return self._encoding

    def fileno(self) -> int:
        """Return the descriptor. Raises OSError where there is none."""
        if self._descriptor is None:
            raise io.UnsupportedOperation("fileno")
        return self._descriptor

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        return self._descriptor is not None and os.isatty(self._descriptor)

    def writable(self) -> bool:
        """Return that it can be written to."""
        return True

    def write(self, text: str) -> int:
        """Take a text in; whole lines go out at once."""
        make_room()
        with self._changed:
            lines, end, rest = (self._begun + text).rpartition("\n")
            self._begun = rest
            self._send(lines + end)
        return len(text)

    def flush(self) -> None:
        """Let all of it go out, and wait until it has: not for a reader that is known not to read."""
        with self._changed:
            begun, self._begun = self._begun, ""
            self._send(begun)
        self.drain(0.0 if self._stalled else PATIENCE_S)

    def drain(self, patience_s: float = inf) -> None:
        """Wait until everything has gone out, or until nothing has for so many seconds."""
        begun = time.monotonic()
        while self._waiting:
            if time.monotonic() - max(begun, self._moved) >= patience_s:
                self._stalled = True
                return
            time.sleep(POLL_S)

    @property
    def unread(self) -> str:
        """What keeps lines from being shown that may still be; empty where nothing does."""
        if not self._stalled or not self._waiting:
            return ""
        return f"it was not read for {time.monotonic() - self._moved:.0f} s"

    def release(self) -> None:
        """Let all go out, and the thread end."""
        self.flush()
        with self._changed:
            self._writer = False
            self._changed.notify()

    def _note(self, problem: str, error: int = 0) -> None:
        if not self.problem:
            self.problem, self.error = problem, error

    def _send(self, text: str) -> None:
        """Hand text to the thread, or to a stream that is no file of the system."""
        if not text or self._stream is None:
            return
        if self._descriptor is None:
            try:
                self._stream.write(text)
                self._stream.flush()
            except (OSError, ValueError) as error:
                self._note(str(error))
            return
        if len(self._waiting) > MOST_BYTES:
            self._note(self.unread or f"more than {MOST_BYTES} bytes waited to be read")
            return
        if not self._waiting:
            self._moved = time.monotonic()
        self._waiting += self._encoded(text)
        if not self._writer and not self._begin():
            self._waiting = self._waiting[self._attempt(self._waiting) :]
        self._changed.notify()

    def _begin(self) -> bool:
        """Start the thread; return whether there can be one."""
        try:
            threading.Thread(target=self._run, daemon=True).start()
        except RuntimeError:
            return False
        self._writer = True
        return True

    def _encoded(self, text: str) -> bytes:
        try:
            text.encode(self._encoding)
        except UnicodeEncodeError:
            self._note(f"its encoding, {self._encoding}, lacks some characters")
        return self._encoder.encode(text)

    def _run(self) -> None:
        """Write what waits, until `release`."""
        while True:
            with self._changed:
                while not self._waiting:
                    if not self._writer:
                        return
                    self._changed.wait()
                text = self._waiting
            sent = self._attempt(text)
            with self._changed:
                self._waiting = self._waiting[sent:]
                if sent:
                    self._stalled, self._moved = False, time.monotonic()

    def _attempt(self, text: bytes) -> int:
        """Write what can be; return how much of the text need not be written any more."""
        try:
            return os.write(self.fileno(), text)
        except BlockingIOError:  # who shares it does not want to wait
            select.select([], [self.fileno()], [], PATIENCE_S)
            return 0
        except OSError as error:
            self._note(error.strerror or str(error), error.errno or errno.EIO)
            return len(text)


def _descriptor(stream: TextIO | None) -> int | None:
    """Return the descriptor of a stream; None where it has none, or is closed."""
    try:
        return None if stream is None else stream.fileno()
    except (OSError, ValueError, AttributeError):
        return None


def _occupy() -> None:
    """Open what is closed of the descriptors 0 to 2: else a file of the run would get the number of one.

    What a library writes to standard error would then be written into that file.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            with suppress(OSError):
                os.open(os.devnull, os.O_RDWR)


@contextmanager
def screens() -> Iterator[None]:
    """Let standard output and error be `Screen`s meanwhile. Nested ones change nothing. Local."""
    if isinstance(sys.stdout, Screen):
        yield
        return
    _occupy()
    before = {name: getattr(sys, name) for name in NAMES}
    for name, stream in before.items():
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
        setattr(sys, name, cast(TextIO, Screen(NAMES[name], stream)))
    try:
        yield
    finally:
        for name, stream in before.items():
            screen = getattr(sys, name)
            setattr(sys, name, stream)
            if isinstance(screen, Screen):
                screen.release()


def unshown(waiting: bool = True) -> list[str]:
    """Return what could not be shown, and why: a text for each stream that lacks something.

    With `waiting`, as at the end, that is also what nobody has read until now.
    """
    both = [one for one in (sys.stdout, sys.stderr) if isinstance(one, Screen)]
    why = [(one.name, one.problem or (one.unread if waiting else "")) for one in both]
    return [f"{name}: {problem}" for name, problem in why if problem]


def losses() -> int:
    """Return how many of the two streams lack something that was left out."""
    return len(unshown(waiting=False))


def reported(status: int) -> int:
    """Return the status of a program that was to print something, and has, with `status`.

    It waits for a reader, however slow. One that has seen enough (`| head`) is no failure, nor is an output
    that there never was; a full disk is.
    """
    out = sys.stdout
    if not isinstance(out, Screen):
        return status
    out.flush()
    out.drain()
    if not out.error or out.error in READER_LEFT:
        return status
    print(f"dbmpi: error: {out.name}: {out.problem}: it lacks what was to be printed", file=sys.stderr)
    return STATUS_FAILURE if status == STATUS_OK else status
