"""What cannot be written is told, also where an object meets it that goes."""

import sys

import pytest

from dbmpi.errors import UserError
from dbmpi.files import quiet, writing


class Unwritten:
    """Writes its last bytes as it goes, as a data set of HDF5 does."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __del__(self) -> None:
        raise self._error


def test_what_an_object_could_not_write_as_it_went_is_an_error(tmp_path, capsys):
    with pytest.raises(UserError, match="cannot be written: No space left"), writing(tmp_path), quiet():
        Unwritten(OSError(28, "No space left on device"))
    with pytest.raises(UserError, match="cannot be written: Input/output error"), writing(tmp_path), quiet():
        Unwritten(RuntimeError("Can't decrement id ref count (file write failed: errno = 5, ...)"))
    assert capsys.readouterr().err == ""


def test_the_error_that_is_on_its_way_is_the_one_that_is_raised():
    with pytest.raises(ValueError, match="first"), quiet():
        Unwritten(OSError(28, "No space left on device"))
        raise ValueError("first")


def test_hooks_are_as_before():
    before = sys.excepthook, sys.unraisablehook
    with quiet():
        Unwritten(ValueError("of something else"))
    assert (sys.excepthook, sys.unraisablehook) == before
