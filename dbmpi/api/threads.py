"""The threads of BLAS in the user's process, limited while fits go on, and given back after the last one."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from operator import index
from typing import Any

_lock = threading.Lock()
_fits = 0
_before: Any = None  # what threadpoolctl remembers of the time before the first of them


@contextmanager
def limited(threads: int | None) -> Iterator[None]:
    """Let BLAS use so many threads meanwhile, where threadpoolctl is installed; None leaves it alone.

    Of fits side by side the last to begin decides; each gives back nothing until the last one ends, as the
    first to end would else leave the limit of the other.
    """
    if threads is None:
        yield
        return
    _begin(threads)
    try:
        yield
    finally:
        _end()


def _begin(threads: int) -> None:
    global _fits, _before
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        return
    with _lock:
        limits = threadpool_limits(index(threads), user_api="blas")
        _before = _before or limits
        _fits += 1


def _end() -> None:
    global _fits, _before
    with _lock:
        _fits = max(0, _fits - 1)
        if not _fits and _before is not None:
            _before.restore_original_limits()
            _before = None
