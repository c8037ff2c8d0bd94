"""How far the reading of files is, on a terminal."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

EVERY_S = 0.1


class Progress:
    """A bar on standard error, by tqdm; nothing where that is no terminal, or tqdm is not installed."""

    @contextmanager
    def over(self, total: int) -> Iterator[Callable[[int], object]]:
        """Yield what is to be called with the number of rows that have just been read, of about `total`."""
        try:
            from tqdm import tqdm
        except ImportError:
            yield lambda rows: None
            return
        with tqdm(
            total=total, unit=" rows", unit_scale=True, disable=None, file=sys.stderr, leave=False
        ) as bar:
            yield bar.update
