"""Put an image into the memory of this process, and make of it what Python can call."""

import ctypes
import mmap
import struct
import sys
from collections.abc import Callable
from functools import cache
from importlib import machinery, util
from typing import Any

import numpy as np

from kernels.image.link import Linked, Unsupported

_METH_FASTCALL = 0x80
_NRT = "numba.core.runtime._nrt_python"  # Numba's allocator, an extension that needs nothing else of Numba
_kept: list[Any] = []  # what the process's memory must keep as long as it runs


class _MethodDef(ctypes.Structure):
    """`struct PyMethodDef` of Python."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


def load(image: Linked, name: str) -> Callable[..., Any]:
    """Return the entry of an image as a function. Local.

    Raises
    ------
    Unsupported
        When the process lacks a symbol, or may not execute what it has written.
    """
    memory = mmap.mmap(-1, max(len(image.code), 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory[: len(image.code)] = image.code
    base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    added = [(at, base) for at in image.inner] + [(at, _address(symbol)) for at, symbol in image.outer]
    for at, address in added:
        (value,) = struct.unpack_from("<q", memory, at)
        struct.pack_into("<Q", memory, at, (value + address) & 0xFFFFFFFFFFFFFFFF)
    libc = ctypes.CDLL(None, use_errno=True)
    executed = ctypes.c_size_t(image.writable or len(image.code))
    if libc.mprotect(ctypes.c_void_p(base), executed, mmap.PROT_READ | mmap.PROT_EXEC):
        raise Unsupported("this process may not execute what it has written")
    method = _MethodDef(name.encode(), base + image.entry, _METH_FASTCALL, None)
    _kept.append((memory, method))
    make = ctypes.pythonapi.PyCFunction_NewEx
    make.restype, make.argtypes = ctypes.py_object, (ctypes.c_void_p,) * 3
    function: Callable[..., Any] = make(ctypes.addressof(method), None, None)
    return function


@cache
def _address(symbol: str) -> int:
    """Return where a symbol of Python, NumPy, Numba's allocator or the C library is."""
    if symbol.startswith("numpy."):
        return id(getattr(np, symbol.removeprefix("numpy.")))
    if symbol.startswith("NRT_"):
        return _allocator()[symbol.removeprefix("NRT_")]
    for library in (ctypes.pythonapi, ctypes.CDLL(None), *_mathematics()):
        try:
            return ctypes.addressof(ctypes.c_char.in_dll(library, symbol))
        except ValueError:
            continue
    raise Unsupported(f"no symbol {symbol}")


@cache
def _mathematics() -> list[ctypes.CDLL]:
    try:
        return [ctypes.CDLL("libm.so.6")]
    except OSError:
        return []


@cache
def _allocator() -> dict[str, int]:
    """Return the addresses of the functions of Numba's allocator, without Numba."""
    helpers: dict[str, int] = (sys.modules.get(_NRT) or _extension()).c_helpers
    return helpers


def _extension() -> Any:
    numba = util.find_spec("numba")
    folders = list(numba.submodule_search_locations or []) if numba is not None else []
    finder = machinery.FileFinder(
        f"{folders[0]}/core/runtime", (machinery.ExtensionFileLoader, machinery.EXTENSION_SUFFIXES)
    )
    spec = finder.find_spec(_NRT)
    if spec is None or spec.loader is None:
        raise Unsupported("Numba's allocator was not found")
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
