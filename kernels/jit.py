"""Choose how kernels are compiled, and how many threads they use: the one module that sets jit options.

Kernels compile at their first call, and are kept for later processes (`kernels.image.place` says where): what
runs on one thread as an image, helpers and the variants for several threads as Numba has them. Both are bound
to all files of the kernels, versions, options and the processor: after a change they are compiled anew.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from kernels.deferred import COMPILING, Deferred, compiler, numba, warnings_noted, with_numba
from kernels.image import images

# Sums may be reordered and products fused, so that loops vectorize. NaN and infinity keep their meaning: the
# parameter server refuses gradients that have them. Without error_model="numpy" each division has a branch
# that raises ZeroDivisionError, and LLVM does not vectorize the loop.
FAST = {"reassoc", "contract", "nsz"}
OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}

# Below this, giving work to helpers costs more than they save: some microseconds.
PARALLEL_ELEMENTS = 1 << 14

_threads = 1
_team: Any = None
_parallel_from = PARALLEL_ELEMENTS


def set_threads(n: int) -> None:
    """Let the kernels of this process use `n` threads: this one and, from 2 on, helpers (`threads.team`).

    Local. To be called before a kernel runs on several threads. Where Numba is told to compile nothing
    (`NUMBA_DISABLE_JIT`), kernels are Python and use one.

    Parameters
    ----------
    n : int
        1 or more.

    Raises
    ------
    ValueError
        When `n` is outside that range.
    RuntimeError
        The system allows no more threads.
    """
    global _threads, _team
    if n != 1:  # one thread loads nothing of this
        with warnings_noted():
            from kernels.threads.team import MOST_MEMBERS, Team

        if not 1 <= n <= MOST_MEMBERS:
            raise ValueError(f"set_threads({n}): must be 1 to {MOST_MEMBERS}")
        if numba.config.DISABLE_JIT:
            return
        _team = _team or Team()
    if _team:
        _team.resize(n)
    _threads = n


def threads() -> int:
    """Return the number of threads that kernels use."""
    return _threads


def pays(elements: int) -> bool:
    """Return whether a kernel on an array of so many elements is to use all threads."""
    return _threads > 1 and elements >= _parallel_from


@contextmanager
def parallel_from(elements: int) -> Iterator[None]:
    """Let arrays of `elements` or more use all threads meanwhile, whatever their size pays for."""
    global _parallel_from
    before, _parallel_from = _parallel_from, elements
    try:
        yield
    finally:
        _parallel_from = before


class Function(Deferred):
    """A function that Numba compiles, and loads, when it is first called."""

    def __init__(self, function: Callable[..., Any], suffix: str = "", **options: Any) -> None:
        self._function, self._options, self._suffix = function, OPTIONS | options, suffix
        super().__init__(self._compiler)
        functools.update_wrapper(self, function)

    def _compiler(self, **more: Any) -> Any:
        """Return Numba's dispatcher."""
        return compiler(with_numba(self._function, self._suffix), **(self._options | more))

    def __call__(self, *arguments: Any) -> Any:
        return self.made(*arguments)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.made, name)


class Kernel(Function):
    """A function that comes from its image where there is one, and is compiled where there is none."""

    def __init__(self, function: Callable[..., Any], **options: Any) -> None:
        super().__init__(function, **options)
        self._entries: tuple[Callable[..., Any], ...] = ()  # in the order in which their types came
        self._found: dict[str, Callable[..., Any]] = {}  # by the types of arguments

    def __call__(self, *arguments: Any) -> Any:
        for entry in self._entries:
            result = entry(*arguments)
            if result is not NotImplemented:
                return result
        return self._first_call(arguments)

    def _for_image(self) -> Any:
        return self._compiler(kept=False, no_cpython_wrapper=True, no_cfunc_wrapper=True)

    def _first_call(self, arguments: tuple[Any, ...]) -> Any:
        """Call with arguments that no entry takes so far, or with which the kernel raises.

        Where there is no image Numba's dispatcher is the entry, of all types that come later too.
        """
        kinds = images.signature(arguments)
        with COMPILING:
            if kinds not in self._found:
                found = images.find(self._function, kinds, arguments, self._for_image)
                self._found[kinds] = self.made if found is None else found
        entry = self._found[kinds]
        result = NotImplemented if entry in self._entries else entry(*arguments)
        if result is NotImplemented:
            return self.made(*arguments)
        self._entries = (*self._entries, entry)
        return result


def helper(function: Callable[..., Any]) -> Any:
    """Compile a function which only kernels call; LLVM inlines it, unless it is long."""
    return Function(function, fastmath=FAST)


def inlined_helper(function: Callable[..., Any]) -> Any:
    """Compile a helper that LLVM must inline: one of an inner loop, or one that sums over an array.

    A helper that is left as a function stands under one name in every kernel that calls it, each time
    optimized a little differently, and the process calls whichever it loaded first. A kernel that was just
    compiled would give sums other last digits than the same kernel read from the cache.
    """
    return Function(function, fastmath=FAST, forceinline=True)


def exact_helper(function: Callable[..., Any]) -> Any:
    """Compile a helper whose operations keep their order, as argument reductions need."""
    return Function(function, fastmath={"contract", "nsz"})


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a kernel that always runs on the calling thread."""
    return Kernel(function, fastmath=FAST)


def threaded_kernel(function: Callable[..., Any]) -> Any:
    """Compile a kernel whose outer loop is a `prange`, for all threads: its caller knows when they pay."""
    return Function(function, fastmath=FAST, parallel=True)


def parallel_kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a kernel whose outer loop is a `prange`: serial at one thread or on a small first array.

    Both variants come of the same source, each compiled when it is first needed.

    Parameters
    ----------
    function : function
        The kernel; iterations of its `prange` loops are independent, or reduce into a scalar.

    Returns
    -------
    callable
        With the two variants as attributes `serial` and `parallel`.
    """
    return _parallel_kernel(function, 0)


def parallel_kernel_sized_by(argument: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Do as `parallel_kernel` for one whose work goes with the size of that argument, counted from 0."""
    return functools.partial(_parallel_kernel, argument=argument)


def _parallel_kernel(function: Callable[..., Any], argument: int) -> Callable[..., Any]:
    serial = kernel(function)
    parallel = Function(function, "_parallel", fastmath=FAST, parallel=True)

    @functools.wraps(function)
    def choose(*arguments: Any) -> Any:
        return parallel(*arguments) if pays(arguments[argument].size) else serial(*arguments)

    choose.serial, choose.parallel = serial, parallel  # type: ignore[attr-defined]
    return choose
