"""What is said while something takes long to be written."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

EVERY_S = 10.0


@contextmanager
def reminding(
    what: str, say: Callable[[str], None], every_s: float = EVERY_S, verb: str = "writing"
) -> Iterator[None]:
    """Let a thread say every so many seconds that `what` is still being written. Local."""
    over, started = threading.Event(), time.monotonic()

    def remind() -> None:
        while not over.wait(every_s):
            say(f"still {verb} {what}: {time.monotonic() - started:.0f} s so far")

    threading.Thread(target=remind, daemon=True).start()
    try:
        yield
    finally:
        over.set()
