"""Compiled kernels on disk: which file is whose, whole files only, each bound to all that it came from."""

import json
import os
import platform
import sys
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, NamedTuple

import numpy as np

from kernels.image import place

_MAGIC = b"dbmpi kernel 2\n"
_NOT_OF_COMPILING = {
    "NUMBA_CACHE_DIR",
    "NUMBA_CACHE_LOCATOR_CLASSES",
    "NUMBA_NUM_THREADS",
    "NUMBA_THREADING_LAYER",
    "NUMBA_THREADING_LAYER_PRIORITY",
}
_SOURCES = Path(__file__).resolve().parent.parent
problems: list[str] = []  # why compiled kernels are not kept, for who can say so
compiling: list[Callable[[], object]] = []  # each is called once, before the first kernel is compiled


class Key(NamedTuple):
    """What a file is for: the kernel and its code, the types of its arguments, the kind of file."""

    name: str
    code: str
    kinds: str
    suffix: str

    def file(self, directory: Path) -> Path:
        """Return its path."""
        checksum = zlib.crc32(json.dumps([*self, circumstances()]).encode())
        return directory / f"{self.name}-{checksum:08x}.{self.suffix}"


def key(function: FunctionType, kinds: str, suffix: str) -> Key:
    """Return the key of a function as it is compiled for some types."""
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    code = f"{zlib.crc32('; '.join(_code(function.__code__)).encode()):08x} {cells}"
    return Key(f"{function.__module__}.{function.__qualname__}", code, kinds, suffix)


def _code(code: CodeType) -> list[str]:
    """Return what a function does, whichever file and line it stands in."""
    constants = [_code(one) if isinstance(one, CodeType) else repr(one) for one in code.co_consts]
    return [code.co_code.hex(), str(code.co_names), str(constants)]


@cache
def _usable() -> bool:
    """Return whether images are made for this machine and this Python: their entries know its objects."""
    known = platform.machine() == "x86_64" and sys.platform == "linux"
    python = sys.implementation.name == "cpython" and object.__basicsize__ == 16  # without free threads
    return known and python and os.access("/proc/cpuinfo", os.R_OK)


def images_used() -> bool:
    """Return whether kernels come from images here."""
    try:  # as Numba reads it
        told = int(os.environ.get("NUMBA_DISABLE_JIT", ""))
    except ValueError:
        told = 0
    return _usable() and not told


@cache
def circumstances() -> str:
    """Return what compiled code depends on besides the kernel: processor, versions, sources, options."""
    options = sorted(f"{k}={v}" for k, v in os.environ.items() if k.startswith("NUMBA_"))
    parts = [_MAGIC.decode(), sys.version, np.__version__, *_versions(), _processor(), *_sources(_SOURCES)]
    parts += [f"optimize={sys.flags.optimize}", *_configured()]
    return "\n".join(parts + [text for text in options if text.partition("=")[0] not in _NOT_OF_COMPILING])


def _configured() -> list[str]:
    """Return the file of options that Numba reads in the working directory."""
    try:
        return [Path(".numba_config.yaml").read_bytes().hex()]
    except OSError:
        return []


def _versions() -> list[str]:
    """Return which Numba and LLVM are installed, as they say themselves, without importing them."""
    specs = [find_spec(name) for name in ("numba", "llvmlite")]
    folders = [Path(spec.origin).parent for spec in specs if spec is not None and spec.origin]
    return [(folder / "_version.py").read_text() for folder in folders]


def _processor() -> str:
    """Return the name of the first processor and what it can do; nothing where the system does not say."""
    try:
        with open("/proc/cpuinfo") as file:
            lines = [line for _, line in zip(range(40), file, strict=False)]
    except OSError:
        return platform.processor()
    return "".join(line for line in lines if line.startswith(("model name", "flags")))


def _sources(folder: Path) -> list[str]:
    """Return names and checksums of the kernels' files: helpers are compiled into kernels."""
    found = []
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.is_dir():
            found += _sources(Path(entry.path)) if entry.name != "__pycache__" else []
        elif entry.name.endswith(".py"):
            found.append(f"{entry.name} {zlib.crc32(Path(entry.path).read_bytes()):08x}")
    return found


def signature(arguments: Sequence[object]) -> str:
    """Return the types of arguments as far as compiled code depends on them."""
    return " ".join(map(_kind, arguments))


def _kind(value: object) -> str:
    if isinstance(value, np.ndarray):
        flags = value.flags
        order = "C" if flags.c_contiguous else "F" if flags.f_contiguous else "A"
        return f"{value.dtype.str}{value.ndim}{order}{flags.writeable:d}{flags.aligned:d}"
    if type(value) is tuple:
        return f"({signature(value)})"
    return type(value).__name__


def read(wanted: Key) -> tuple[dict[str, Any], bytes] | None:
    """Return what was written under a key; None if there is nothing whole of one's own."""
    for directory in place.readable():
        found = _opened(place.contents(wanted.file(directory)) or b"")
        if found is not None and found[0]["of"] == [*wanted, circumstances()]:
            return found
    while compiling:
        compiling.pop()()
    return None


def _opened(data: bytes) -> tuple[dict[str, Any], bytes] | None:
    """Return the description in a file and the code behind it; None if it is not whole."""
    head = len(_MAGIC) + 8
    if len(data) < head or not data.startswith(_MAGIC):
        return None
    checksum, size = (int.from_bytes(data[at : at + 4], "little") for at in (head - 8, head - 4))
    if zlib.crc32(data[head:]) != checksum:
        return None
    return json.loads(data[head : head + size]), data[head + size :]


def write(wanted: Key, about: Mapping[str, Any], code: bytes) -> None:
    """Write a compiled kernel whole, in place of what cannot be used.

    Where that fails nothing is lost but time, as it is compiled again: `problems` says why.
    """
    text = json.dumps({**about, "of": [*wanted, circumstances()]}).encode()
    rest = text + code
    head = _MAGIC + zlib.crc32(rest).to_bytes(4, "little") + len(text).to_bytes(4, "little")
    directory = place.writable()
    if directory is None:
        _cannot_keep("there is no directory that they can be kept in")
        return
    try:
        place.replace(wanted.file(directory), head + rest)
    except OSError as error:
        _cannot_keep(f"{directory} cannot be written to ({error.strerror})")


def _cannot_keep(why: str) -> None:
    text = (
        f"compiled kernels are not kept, and every start compiles them anew: {why}; set NUMBA_CACHE_DIR to a "
        "directory on this node with some 20 MB"
    )
    with suppress(ValueError):
        problems.remove(text)
    problems.append(text)
