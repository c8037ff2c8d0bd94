"""A mistake of the user as Python has it: ValueError."""

from collections.abc import Iterator
from contextlib import contextmanager

from dbmpi.errors import UserError


@contextmanager
def value_errors() -> Iterator[None]:
    """Raise ValueError, of one line with place, value and remedy, in place of UserError."""
    try:
        yield
    except UserError as error:
        raise ValueError(error.whole) from None
