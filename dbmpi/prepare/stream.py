"""One named array of a file, whose rows are read in order and not all at once."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from dbmpi.arrays import Array
from dbmpi.errors import UserError
from dbmpi.prepare.regular import reason

AT_ONCE = 1 << 10  # rows that are read at once of an array that is turned
OF_OTHERS = np.dtype(object)  # what cannot be used at all


@dataclass(frozen=True)
class Stream:
    """One array.

    Attributes
    ----------
    shape, dtype
        Rows come first.
    batches
        Yields so many rows after another. Raises UserError.
    problem
        Why it cannot be used, and what to do about it; empty where it can.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    batches: Callable[[int], Iterator[Array]]
    problem: str = ""


def unusable(shape: tuple[int, ...], problem: str) -> Stream:
    """Return an array that is there, and cannot be used."""
    return Stream(shape, OF_OTHERS, lambda rows: iter(()), problem)


def in_memory(array: Array) -> Stream:
    """Return an array that was read as a whole."""

    def batches(rows: int) -> Iterator[Array]:
        yield from (array[start : start + rows] for start in range(0, len(array), rows))

    return Stream(array.shape, array.dtype, batches)


def turned(array: Stream) -> Stream:
    """Return the array whose rows are the last axis of this one, which is read as a whole."""

    def batches(rows: int) -> Iterator[Array]:
        whole = np.concatenate([*array.batches(AT_ONCE)])
        yield from in_memory(np.moveaxis(whole, -1, 0)).batches(rows)

    return Stream((array.shape[-1], *array.shape[:-1]), array.dtype, batches, array.problem)


@contextmanager
def explained(where: str) -> Iterator[None]:
    """Turn whatever a library raises of a file into one message: damage can make it raise anything."""
    try:
        yield
    except UserError:
        raise
    except MemoryError as error:
        raise UserError(f"{where}: does not fit into memory: {reason(error)}; is it whole?") from error
    except Exception as error:
        raise UserError(
            f"{where}: cannot be read: {reason(error)}; is it whole, and of this kind?"
        ) from error
