"""Join the object code of a kernel and of its entry into an image, which any address suits. For x86-64.

LLVM's code for Numba has 64-bit addresses throughout, so that an image needs no tables: where it says so, the
address of the image, or that of a symbol of the process, is added.

Source: System V ABI, AMD64 supplement, section 4.4; the format of object files is ELF-64.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_RELOCATION = struct.Struct("<QQq")
_ALLOCATED, _WRITABLE, _NO_BITS, _RELA, _SYMTAB = 2, 1, 8, 4, 2
_COMMON = 0xFFF2
_ABS64, _PC32, _PLT32, _PC64 = 1, 2, 4, 24
PAGE = 4096


class Unsupported(Exception):
    """There can be no image of this."""


class Linked(NamedTuple):
    """An image, as if it lay at address 0.

    Attributes
    ----------
    code
        Its bytes: what is executed or only read; from `writable` on, a multiple of `PAGE`, variables.
    entry
        Offset of the function that is called.
    inner
        Offsets of the 64-bit words to which the image's address is added.
    outer
        Offset of a word, name of the symbol whose address is added to it.
    """

    code: bytes
    writable: int
    entry: int
    inner: list[int]
    outer: list[tuple[int, str]]


class _Section(NamedTuple):
    name: str
    kind: int
    flags: int
    offset: int
    size: int
    link: int
    info: int
    align: int


class _Object:
    """One ELF file."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        if data[:6] != b"\x7fELF\x02\x01" or data[16:20] != b"\x01\x00\x3e\x00":
            raise Unsupported("not an object file of x86-64")
        start, count, names = (
            struct.unpack_from("<Q", data, 40)[0],
            *struct.unpack_from("<HH", data, 60),
        )
        heads = [_SECTION.unpack_from(data, start + n * _SECTION.size) for n in range(count)]
        text = heads[names][4]
        self.sections = [_Section(self._text(text + h[0]), h[1], h[2], *h[4:9]) for h in heads]
        self.symbols = list(self._symbols())

    def _text(self, at: int) -> str:
        return self.data[at : self.data.index(b"\0", at)].decode()

    def _symbols(self) -> Iterator[tuple[str, bool, int, int, int]]:
        """Yield name, whether others see it, section, value and size of each symbol."""
        for table in self.sections:
            if table.kind == _SYMTAB:
                names = self.sections[table.link].offset
                for at in range(table.offset, table.offset + table.size, _SYMBOL.size):
                    name, info, _, section, value, size = _SYMBOL.unpack_from(self.data, at)
                    yield self._text(names + name), info >> 4 != 0, section, value, size

    def loaded(self, number: int) -> bool:
        """Return whether a section is part of the image; tables for unwinding are not."""
        section = self.sections[number]
        return bool(section.flags & _ALLOCATED) and section.name != ".eh_frame"

    def relocations(self) -> Iterator[tuple[int, int, int, int, int]]:
        """Yield section, offset in it, type, symbol and addend of each."""
        for table in self.sections:
            if table.kind == _RELA and self.loaded(table.info):
                for at in range(table.offset, table.offset + table.size, _RELOCATION.size):
                    offset, info, addend = _RELOCATION.unpack_from(self.data, at)
                    yield table.info, offset, info & 0xFFFFFFFF, info >> 32, addend


def link(objects: list[bytes], entry: str) -> Linked:
    """Join object files. Of symbols that several define the first is taken.

    Raises
    ------
    Unsupported
        For another processor, or an unknown way to write an address.
    """
    read = [_Object(data) for data in objects]
    code, places, writable = _lay_out(read)
    found = _global_symbols(read, places)
    inner, outer = list[int](), list[tuple[int, str]]()
    for number, one in enumerate(read):
        for section, offset, kind, symbol, addend in one.relocations():
            at, (name, seen, where, value, _) = places[number, section] + offset, one.symbols[symbol]
            target = found.get(name) if seen else places[number, where] + value
            if target is None and kind == _ABS64:
                outer.append((at, name))
            elif kind == _ABS64:
                inner.append(at)
            _write_address(code, at, kind, target, addend, name)
    return Linked(bytes(code), writable, found[entry], inner, outer)


def _write_address(code: bytearray, at: int, kind: int, target: int | None, addend: int, name: str) -> None:
    """Write what is known of an address; `target` is None where its symbol is the process's."""
    if kind == _ABS64:
        struct.pack_into("<q", code, at, (target or 0) + addend)
    elif kind in (_PC32, _PLT32, _PC64) and target is not None:
        struct.pack_into("<q" if kind == _PC64 else "<i", code, at, target + addend - at)
    else:
        raise Unsupported(f"relocation {kind} of {name}")


def _lay_out(objects: list[_Object]) -> tuple[bytearray, dict[tuple[int, int], int], int]:
    """Return all sections, where each is (of which object, its number), and where writable ones begin."""
    code, places = bytearray(), dict[tuple[int, int], int]()
    writable = 0
    for wanted in (0, _WRITABLE):
        if wanted:
            code += bytes(-len(code) % PAGE)
            writable = len(code)
        for number, one in enumerate(objects):
            for index, section in enumerate(one.sections):
                if one.loaded(index) and section.flags & _WRITABLE == wanted:
                    code += bytes(-len(code) % max(1, section.align))
                    places[number, index] = len(code)
                    start, size = section.offset, section.size
                    code += bytes(size) if section.kind == _NO_BITS else one.data[start : start + size]
    for number, one in enumerate(objects):  # variables without a value
        code += bytes(-len(code) % 16)
        places[number, _COMMON] = len(code)
        code += bytes(sum(16 + size for _, _, section, _, size in one.symbols if section == _COMMON))
    return code, places, writable


def _global_symbols(objects: list[_Object], places: dict[tuple[int, int], int]) -> dict[str, int]:
    """Return the offset of each symbol that all objects see."""
    found = dict[str, int]()
    for number, one in enumerate(objects):
        taken = places[number, _COMMON]
        for name, seen, section, value, size in one.symbols:
            if section == _COMMON:
                found.setdefault(name, taken)
                taken += 16 + size - size % 16
            elif seen and (number, section) in places:
                found.setdefault(name, places[number, section] + value)
    return found
