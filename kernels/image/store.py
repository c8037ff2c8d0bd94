"""Images on disk: which file is whose, and whole files only."""

import json
import os
import platform
import sys
import tempfile
import zlib
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from kernels.image.link import Linked

_MAGIC = b"dbmpi image 1\n"
_NOT_OF_COMPILING = {"NUMBA_CACHE_DIR", "NUMBA_NUM_THREADS", "NUMBA_THREADING_LAYER"}
_SOURCES = Path(__file__).resolve().parent.parent


def directory() -> Path | None:
    """Return where images are kept; None where no cache of kernels is given, or they cannot be used."""
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    if not chosen or os.environ.get("NUMBA_DISABLE_JIT", "0") != "0" or not _usable():
        return None
    return Path(chosen) / "images"


@cache
def _usable() -> bool:
    """Return whether images are made for this machine and this Python: their entries know its objects."""
    known = platform.machine() == "x86_64" and sys.platform == "linux"
    python = sys.implementation.name == "cpython" and object.__basicsize__ == 16  # without free threads
    return known and python and os.access("/proc/cpuinfo", os.R_OK)


@cache
def circumstances() -> str:
    """Return what compiled code depends on besides the kernel: processor, versions, sources, options."""
    options = sorted(f"{k}={v}" for k, v in os.environ.items() if k.startswith("NUMBA_"))
    parts = [_MAGIC.decode(), sys.version, np.__version__, *_versions(), _processor(), *_sources(_SOURCES)]
    return "\n".join(parts + [text for text in options if text.partition("=")[0] not in _NOT_OF_COMPILING])


def _versions() -> list[str]:
    """Return which Numba and LLVM are installed, as they say themselves, without importing them."""
    specs = [find_spec(name) for name in ("numba", "llvmlite")]
    folders = [Path(spec.origin).parent for spec in specs if spec is not None and spec.origin]
    return [(folder / "_version.py").read_text() for folder in folders]


def _processor() -> str:
    """Return the name of the first processor and what it can do."""
    with open("/proc/cpuinfo") as file:
        lines = [line for _, line in zip(range(40), file, strict=False)]
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


def path(where: Path, name: str, kinds: str) -> Path:
    """Return the file of a kernel's image for arguments of some types."""
    key = zlib.crc32(f"{kinds}\n{circumstances()}".encode())
    return where / f"{name}-{key:08x}.image"


def read(file: Path, kinds: str) -> Linked | None:
    """Return an image; None if there is none, or none that is whole and for these types and circumstances."""
    try:
        data = file.read_bytes()
    except OSError:
        return None
    head = len(_MAGIC) + 8
    if len(data) < head or not data.startswith(_MAGIC):
        return None
    checksum, size = (int.from_bytes(data[at : at + 4], "little") for at in (head - 8, head - 4))
    if zlib.crc32(data[head:]) != checksum:
        return None
    about = json.loads(data[head : head + size])
    if about["kinds"] != kinds or about["circumstances"] != circumstances():
        return None
    return Linked(data[head + size :], about["writable"], about["entry"], about["inner"], about["outer"])


def write(file: Path, kinds: str, image: Linked) -> None:
    """Write an image whole; nothing is lost where that fails, as it is compiled again."""
    about = image._asdict() | {"kinds": kinds, "circumstances": circumstances()}
    del about["code"]
    text = json.dumps(about).encode()
    rest = text + image.code
    head = _MAGIC + zlib.crc32(rest).to_bytes(4, "little") + len(text).to_bytes(4, "little")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=file.parent, prefix=".image-")
        try:
            with os.fdopen(handle, "wb") as out:
                out.write(head + rest)
            os.replace(name, file)
        except OSError:
            os.unlink(name)
            raise
    except OSError:
        pass
