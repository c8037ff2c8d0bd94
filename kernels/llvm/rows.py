"""Sums over several rows of a matrix, held in vector registers: the inner loops of `parameters.linear`.

Numba's loops over two or three rows are as fast as memory; over twenty they store and load sums once a row,
and fall back to single elements where a row is read and written. Sums are float64, whatever the rows are.
Letters: V rows, N elements of each, K terms, T tiles.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from kernels.deferred import arrayobj, cgutils, intrinsic, ir, types
from kernels.llvm.pairs import CELLS, HUBS, SPOKES
from kernels.llvm.vector import Vectors, data, numbers

LANES = 8  # of float64 in the longest vectors

_SUMS = 8  # vectors of sums that `weigh` keeps: so many bytes of each row in turn that memory likes it
_LINE_BYTES = 64  # of a cache line
_AHEAD_BYTES = 1024  # so far ahead `products` asks for its spokes


class _Rows(Vectors):
    """Write LLVM code over the rows of a matrix (V, N): vectors of its type, as many lanes as of float64."""

    def __init__(self, context: Any, builder: Any, kind: Any, matrix: Any) -> None:
        super().__init__(context, builder, types.float64)
        self.sums = self.vector
        self.size = kind.dtype.bitwidth // 8
        self.vector = ir.VectorType(context.get_value_type(kind.dtype), self.lanes)
        array = arrayobj.make_array(kind)(context, builder, matrix)
        self.data, self.length = array.data, cgutils.unpack_tuple(builder, array.shape)[1]

    def start(self, rows: Any, k: Any, at: Any) -> Any:
        """Return where element `at` of row `rows[k]` lies."""
        return self.along(at, self.builder.load(self.builder.gep(rows, [k])), self.length)

    def read(self, at: Any, v: int = 0) -> Any:
        """Load vector `v` from an element on, and widen it."""
        value = self.load(self.place(self.data, at, v))
        return value if self.vector == self.sums else self.builder.fpext(value, self.sums)

    def write(self, value: Any, at: Any, v: int) -> None:
        """Round sums, and store them as vector `v` from an element on."""
        if self.vector != self.sums:
            value = self.builder.fptrunc(value, self.vector)
        self.store(value, self.place(self.data, at, v))

    def zeros(self, n: int) -> list[Any]:
        """Return n sums, each in a variable; LLVM puts them into registers."""
        sums = [cgutils.alloca_once(self.builder, self.sums) for _ in range(n)]
        for total in sums:
            self.builder.store(ir.Constant(self.sums, None), total)
        return sums

    def add_product(self, total: Any, x: Any, y: Any) -> None:
        """Add x y to a sum."""
        product = self.builder.fmul(x, y, flags=("contract",))
        value = self.builder.fadd(self.builder.load(total), product, flags=("contract",))
        self.builder.store(value, total)

    def total(self, vector: Any) -> Any:
        """Return the sum of the lanes, first to last."""
        lanes = [self.builder.extract_element(vector, self.count(n)) for n in range(self.lanes)]
        value = lanes[0]
        for lane in lanes[1:]:
            value = self.builder.fadd(value, lane)
        return value

    def cover(self, length: Any, vectors: int, body: Callable[[Any, int], None]) -> None:
        """Write body(offset, vectors) for whole strips, then for single vectors; a mask cuts the last."""
        builder, strip, lanes = self.builder, self.count(vectors * self.lanes), self.count(self.lanes)
        whole = builder.sdiv(length, strip)
        with cgutils.for_range(builder, whole) as loop:
            body(builder.mul(loop.index, strip), vectors)
        done = builder.mul(whole, strip)
        rest = builder.add(builder.sub(length, done), self.count(self.lanes - 1))
        with cgutils.for_range(builder, builder.sdiv(rest, lanes)) as loop:
            offset = self.along(done, loop.index, lanes)
            self.narrow(builder.sub(length, offset))
            body(offset, 1)
        self.mask = None


class Terms(NamedTuple):
    """The terms [first, last) of a linear combination, for elements [at, at + length) of row `out`."""

    first: Any
    last: Any
    at: Any
    length: Any
    out: Any


class TileRange(NamedTuple):
    """The elements [at, at + length) of the rows of a tile; its sums go to flat positions from `out` on."""

    tile: Any
    at: Any
    length: Any
    out: Any


class _Weighing:
    """The LLVM code of `weigh`."""

    def __init__(self, rows: _Rows, arrays: list[Any], terms: Terms, ends: Any) -> None:
        self.rows, (self.numbers, self.factors, self.carried) = rows, arrays
        self.terms, self.ends = terms, ends

    def strip(self, offset: Any, vectors: int) -> None:
        """Add the terms for one strip of elements."""
        rows, builder = self.rows, self.rows.builder
        at, sums = builder.add(self.terms.at, offset), rows.zeros(vectors)
        carried = [self._carried(offset, v) for v in range(vectors)]
        with builder.if_then(builder.icmp_signed(">", self.terms.first, rows.count(0))):
            for total, place in zip(sums, carried, strict=True):
                builder.store(builder.load(place, align=8), total)
        first, last = self.terms.first, self.terms.last
        with cgutils.for_range_slice(builder, first, last, rows.count(1), inc=True) as (k, _):
            factor = rows.splat(builder.load(builder.gep(self.factors, [k])))
            start = rows.start(self.numbers, k, at)
            for v, total in enumerate(sums):
                rows.add_product(total, rows.read(start, v), factor)
        values = [builder.load(total) for total in sums]
        with builder.if_else(self.ends) as (ended, goes_on):
            with ended:
                for v, value in enumerate(values):
                    rows.write(value, rows.along(at, self.terms.out, rows.length), v)
            with goes_on:
                for value, place in zip(values, carried, strict=True):
                    builder.store(value, place, align=8)

    def _carried(self, offset: Any, v: int) -> Any:
        """Return where the sums lie from one group to the next."""
        rows, builder = self.rows, self.rows.builder
        place = builder.gep(self.carried, [builder.add(offset, rows.count(v * rows.lanes))])
        return builder.bitcast(place, rows.sums.as_pointer())


def _weigh(typing_context: Any, v_VN: Any, rows: Any, factors: Any, sums: Any, terms: Any) -> Any:
    """Add terms of a linear combination of rows, over a range of elements, in a kernel.

    Local. Terms come in groups, each of few enough rows for the processor to read them ahead.

    Parameters
    ----------
    v_VN : float array (V, N)
        The vectors, as rows.
    rows, factors : int64 and float64 array (K,)
        The terms. All terms of an element are read before it is written.
    sums : float64 array (length + LANES,)
        Carries the sums from one group to the next; not used if there is one.
    terms : Terms
        They are added to zero if `first` is 0, else to `sums`; to row `out` if `last` is K, else into `sums`.

    Notes
    -----
    Nothing is checked: a wrong number reads or writes foreign memory.
    """
    if rows.dtype != types.int64 or not factors.dtype == sums.dtype == types.float64:
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        matrix, *arrays, values = arguments
        of = Terms(*numbers(context, builder, terms, values))
        ends = builder.icmp_signed(
            "==", of.last, arrayobj.make_array(rows)(context, builder, arrays[0]).nitems
        )
        code = _Rows(context, builder, v_VN, matrix)
        weighing = _Weighing(code, data(context, builder, (rows, factors, sums), arrays), of, ends)
        code.cover(of.length, _SUMS, weighing.strip)
        return context.get_dummy_value()

    return types.void(v_VN, rows, factors, sums, terms), generate


def _products(typing_context: Any, v_VN: Any, tiles: Any, sums: Any, elements: Any) -> Any:
    """Dot each hub of a tile with each of its spokes, over a range of elements, in a kernel.

    Local.

    Parameters
    ----------
    v_VN : float array (V, N)
        The vectors, as rows.
    tiles : int64 array (T, HUBS + SPOKES)
        Row numbers: the hubs of a tile, then its spokes. They may repeat.
    sums : float64 array, of any shape
        Cell SPOKE * HUBS + HUB of the tile goes to the flat position `out` + cell.
    elements : TileRange
        The tile, and which elements of its rows.

    Notes
    -----
    Nothing is checked: a wrong number reads or writes foreign memory.
    """
    if tiles.dtype != types.int64 or sums.dtype != types.float64:
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        rows = _Rows(context, builder, v_VN, arguments[0])
        row_numbers, out = data(context, builder, (tiles, sums), arguments[1:3])
        of = TileRange(*numbers(context, builder, elements, arguments[3]))
        first = builder.mul(of.tile, rows.count(HUBS + SPOKES))
        places = [builder.add(first, rows.count(k)) for k in range(HUBS + SPOKES)]
        starts = [rows.start(row_numbers, place, of.at) for place in places]
        totals = rows.zeros(CELLS)
        line = max(1, _LINE_BYTES // (rows.lanes * rows.size))  # vectors
        rows.cover(of.length, line, lambda offset, vectors: _add_tile(rows, starts, totals, offset, vectors))
        for cell, total in enumerate(totals):
            place = builder.gep(out, [builder.add(of.out, rows.count(cell))])
            builder.store(rows.total(builder.load(total)), place)
        return context.get_dummy_value()

    return types.void(v_VN, tiles, sums, elements), generate


def _add_tile(rows: _Rows, starts: list[Any], totals: list[Any], offset: Any, vectors: int) -> None:
    """Write the products of a tile for one cache line of each row, or one vector."""
    places = [rows.builder.add(start, offset) for start in starts]
    if rows.mask is None:
        for place in places[HUBS:]:
            rows.prefetch(rows.data, rows.builder.add(place, rows.count(_AHEAD_BYTES // rows.size)))
    for v in range(vectors):
        hubs = [rows.read(place, v) for place in places[:HUBS]]
        for spoke, place in enumerate(places[HUBS:]):
            x = rows.read(place, v)
            for hub, y in enumerate(hubs):
                rows.add_product(totals[spoke * HUBS + hub], x, y)


weigh: Any = intrinsic(_weigh)
products: Any = intrinsic(_products)
