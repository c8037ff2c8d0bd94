"""Numba and LLVM, loaded when something is compiled and not before.

Importing Numba takes a process as long as all else that it imports, and kernels that come from
`kernels.image` do not need it. So what kernels are written with, their decorators and Numba's own names,
stands here as objects that load Numba when they are used: `Deferred`, which compiling replaces by what it
stands for, and `LazyModule`.
"""

import importlib
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from types import FunctionType
from typing import Any

problems: list[str] = []  # what was warned of as Numba was loaded, a line each
COMPILING = threading.RLock()  # held while what threads share is made: Numba's objects, images, compilers


class LazyModule:
    """A module that is imported when something of it is wanted."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        with COMPILING, warnings_noted():
            value = getattr(importlib.import_module(self._name), attribute)
        setattr(self, attribute, value)
        return value


@contextmanager
def warnings_noted() -> Iterator[None]:
    """Keep what libraries warn of as they are loaded, as a wrong value in the environment, in `problems`.

    It would be a traceback for a setting which they ignore, or an error where warnings are errors.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    texts = [str(one.message).strip().splitlines()[0] for one in caught if one.category is RuntimeWarning]
    problems.extend(text for text in texts if text not in problems)


types: Any = LazyModule("numba.types")
cgutils: Any = LazyModule("numba.core.cgutils")
arrayobj: Any = LazyModule("numba.np.arrayobj")
ir: Any = LazyModule("llvmlite.ir")
binding: Any = LazyModule("llvmlite.binding")
numba: Any = LazyModule("numba")
_extending: Any = LazyModule("numba.extending")


class Deferred:
    """What stands in a module for an object of Numba, until something is compiled.

    Parameters
    ----------
    make
        Makes the object.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    @cached_property
    def made(self) -> Any:
        """The object of Numba."""
        with COMPILING:
            known = self.__dict__.get("made")  # another thread may have made it meanwhile
            return self._make() if known is None else known


prange: Any = Deferred(lambda: numba.prange)
_globals: dict[str, dict[str, Any]] = {}  # of each module, as compiled functions see them
_overloads: list[Callable[[], Any]] = []  # to be told to Numba before anything is compiled


def intrinsic(function: Callable[..., Any]) -> Any:
    """Let Numba call a function that writes LLVM code. See `numba.extending.intrinsic`."""
    return Deferred(lambda: _extending.intrinsic(function))


def overload(of: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Let a function choose what stands for another one in kernels. See `numba.extending.overload`."""

    def register(choose: Callable[..., Any]) -> Callable[..., Any]:
        _overloads.append(lambda: _extending.overload(of, strict=False)(with_numba(choose)))
        return choose

    return register


def compiler(function: Callable[..., Any], kept: bool = True, **options: Any) -> Any:
    """Return Numba's dispatcher of a function; what it compiles is kept for later processes."""
    made = numba.njit(**options)(function)
    return importlib.import_module("kernels.image.compiled").kept(made) if kept else made


def with_numba(function: Callable[..., Any], suffix: str = "") -> FunctionType:
    """Return a copy of a function that sees the objects of Numba in its module's globals.

    Parameters
    ----------
    suffix
        Of its qualified name: Numba's cache tells variants apart by name, not by options.
    """
    assert isinstance(function, FunctionType)
    while _overloads:
        _overloads.pop()()
    seen = _seen(function.__globals__)
    copy = FunctionType(
        function.__code__, seen, function.__name__, function.__defaults__, function.__closure__
    )
    copy.__module__, copy.__doc__ = function.__module__, function.__doc__
    copy.__qualname__ = function.__qualname__ + suffix
    return copy


def _seen(names: dict[str, Any]) -> dict[str, Any]:
    """Return the globals of a module with what its deferred objects stand for."""
    known = _globals.setdefault(names["__name__"], {})
    for name, value in list(names.items()):
        if name not in known:
            known[name] = value  # before it is made: making may come back here
            if isinstance(value, Deferred):
                known[name] = value.made
    return known
