"""A run that goes on elsewhere, in a thread or on ranks, and the thread that waits for it and shows it."""

from collections import deque
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from dbmpi.api.shown import Said, Shown

WAIT_S = 0.05  # between two looks at what is to be shown

Event: TypeAlias = str | tuple[float, str]  # a line that stays; or how much is done, and what there is to say


class Running(Protocol):
    """A run, which begins when it is followed: an interrupt then finds what it has to end.

    Attributes
    ----------
    events
        What it has to say, put there by another thread.
    """

    events: deque[Event]

    def begin(self) -> None:
        """Begin it. Raises RuntimeError where that cannot be."""

    def wait(self, seconds: float) -> bool:
        """Wait for its end, no longer than so many seconds; return whether it has come."""

    def stop(self) -> None:
        """Tell it to stop in order, with a checkpoint. Returns at once."""

    def kill(self) -> None:
        """End it as fast as can be, if it has begun."""

    def status(self) -> int:
        """Return its exit status once it has ended, or raise what has ended it."""


@dataclass(frozen=True)
class Ended:
    """How a run has ended.

    Attributes
    ----------
    status
        Its exit status (README.md).
    errors, last
        What it has said of errors, and its last lines.
    interrupted
        Whether the user has stopped it, by Ctrl-C or the button of a notebook.
    """

    status: int
    errors: tuple[str, ...]
    last: tuple[str, ...]
    interrupted: bool


def follow(running: Running, shown: Shown) -> Ended:
    """Begin a run, show it to its end. A first KeyboardInterrupt stops it in order, a second one is raised.

    All that a user sees comes from this thread, as a notebook puts what a thread prints below its own cell.
    """
    said, interrupted = Said(shown), False
    try:
        running.begin()
        while True:
            try:
                ended = running.wait(WAIT_S)
                _show(running.events, said)
                if ended:
                    break
            except KeyboardInterrupt:
                if interrupted:
                    raise
                interrupted = True
                running.stop()
    except BaseException:
        running.kill()
        raise
    finally:
        shown.close()
    return Ended(running.status(), tuple(said.errors), tuple(said.last), interrupted)


def _show(events: deque[Event], said: Said) -> None:
    while events:
        event = events.popleft()
        if isinstance(event, str):
            said.take(event)
        else:
            said.shown.progress(*event)
