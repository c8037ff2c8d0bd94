"""What Numba itself compiles and runs, kept as images are: in place of Numba's own cache.

Numba's looks at the file that a function stands in, and not at those of its helpers; and it reads, as pickled
objects, what anybody has put into its directory.
"""

import pickle
from collections.abc import Callable
from types import FunctionType
from typing import Any

from numba.core.caching import NullCache
from numba.core.ccallback import CFunc
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps
from numba.core.sigutils import normalize_signature

from kernels.image import store


class Cache(NullCache):
    """See `numba.core.caching._Cache`."""

    def __init__(self, function: FunctionType) -> None:
        self._function = function

    def _key(self, signature: Any, codegen: Any) -> store.Key:
        return store.key(self._function, f"{signature} {codegen.magic_tuple()}", "numba")

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return what was compiled for a signature; None if nothing was."""
        target_context.refresh()
        found = store.read(self._key(sig, target_context.codegen()))
        return None if found is None else CompileResult._rebuild(target_context, *pickle.loads(found[1]))

    def save_overload(self, sig: Any, cres: Any) -> None:
        """Keep what was compiled, if it can serve another process."""
        if cres.library.has_dynamic_globals or not all(one.can_cache for one in cres.lifted):
            return
        store.write(self._key(sig, cres.codegen), {}, dumps(cres._reduce()))


def kept(dispatcher: Any) -> Any:
    """Let a dispatcher of Numba keep what it compiles; a function that Numba leaves as it is has none."""
    if hasattr(dispatcher, "_cache"):
        dispatcher._cache = Cache(dispatcher.py_func)
    return dispatcher


def callback(signature: Any, function: Callable[..., Any], options: dict[str, Any]) -> Any:
    """Return a function with an address that compiled code can call. See `numba.cfunc`."""
    assert isinstance(function, FunctionType)
    made: Any = CFunc(function, normalize_signature(signature), locals={}, options=options)
    made._cache = Cache(function)
    made.compile()
    return made
