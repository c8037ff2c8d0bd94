"""Packages that only something optional needs: extras of dbmpi, which setup.cfg lists."""

from collections.abc import Iterator
from contextlib import contextmanager

from dbmpi.errors import UserError


@contextmanager
def extra(package: str) -> Iterator[None]:
    """Say how to install a package, where importing it fails within the context.

    Raises
    ------
    UserError
        In place of ImportError.
    """
    try:
        yield
    except ImportError as error:
        raise UserError(f"this needs {package} ({error}): pip install {package}") from error
