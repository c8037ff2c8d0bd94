"""Find the image of a kernel: in its file, or compiled now and written for the processes that come later."""

from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any

from kernels.image import memory, store
from kernels.image.link import Linked, Unsupported, link
from kernels.image.store import signature

__all__ = ["find", "signature"]


def find(
    function: Callable[..., Any], kinds: str, arguments: Sequence[Any], compiler: Callable[[], Any]
) -> Callable[..., Any] | None:
    """Return what computes a kernel for arguments of these types; None where Numba itself must. Local.

    Parameters
    ----------
    function
        The kernel as it is written.
    kinds
        Their types, as `signature` tells them.
    compiler
        Makes Numba's dispatcher for it, without Numba's cache and wrappers.
    """
    if not store.images_used():
        return None
    assert isinstance(function, FunctionType)
    wanted = store.key(function, kinds, "image")
    try:
        found = store.read(wanted)
        if found is None:
            image = _compiled(compiler(), arguments)
            about = image._asdict()
            store.write(wanted, about, about.pop("code"))
        else:
            about, code = found
            del about["of"]
            image = Linked(code, **about)
        return memory.load(image, wanted.name)
    except Unsupported:
        return None


def _compiled(dispatcher: Any, arguments: Sequence[Any]) -> Linked:
    """Compile a kernel for the types of arguments."""
    from numba.core.compiler_lock import global_compiler_lock

    from kernels.image import entry

    if not hasattr(dispatcher, "typeof_pyval"):
        raise Unsupported("Numba is told to compile nothing, in its own file")
    types = tuple(dispatcher.typeof_pyval(value) for value in arguments)
    with global_compiler_lock:
        compiled = dispatcher._compiler.compile(types, None)
        return link(entry.object_code(compiled), entry.NAME)
