"""Small matrix products with their sums in vector registers: the inner loops of `local` and `conv`.

In Numba's loops over the minibatch each multiplication loads and stores its sum; here a tile of sums stays in
registers over all products.
"""

from typing import Any, NamedTuple

from kernels.deferred import cgutils, intrinsic, ir, types
from kernels.llvm.vector import Vectors, data, numbers

# Vectors and rows of the tiles, in the order in which they cover a product; those of one vector, narrowed by
# a mask, cover what is left. 8 sums or more in flight keep a core's multipliers busy, and of the 32 registers
# of AVX-512 some must hold the factors (AVX2 has 16, and spills some sums of the widest tile).
_TILES = [(4, (4, 1)), (2, (8, 4, 1)), (1, (8, 4, 1))]


class Product(NamedTuple):
    """Which elements a product of strided matrices reads and writes: C[m, n] (+)= sum A[m, s, k] X[s, k, n].

    The sum is over segments s and k in a segment. C[m, n] is `c[c_at + m c_row + n]`, A[m, s, k] is
    `a[a_at + m a_row + s a_segment + k a_k]`, X[s, k, n] is `x[x_at + s x_segment + k x_k + n]`; m < rows,
    n < width, s < segments, k < length. Kernels make it of integers; in this file it holds LLVM values.
    """

    c_at: Any
    c_row: Any
    a_at: Any
    a_row: Any
    a_k: Any
    a_segment: Any
    x_at: Any
    x_k: Any
    x_segment: Any
    length: Any
    segments: Any
    rows: Any
    width: Any


class _ProductCode(Vectors):
    """Write the LLVM code of a product: cut it into tiles, and a tile into vectors."""

    def __init__(self, context: Any, builder: Any, dtype: Any, arrays: list[Any], fresh: Any) -> None:
        super().__init__(context, builder, dtype)
        self.arrays, self.fresh = arrays, fresh

    def whole(self, product: Product) -> None:
        """Cover a product with strips of columns, as wide as may be."""
        builder, done = self.builder, self.count(0)
        for vectors, heights in _TILES:
            strip = self.count(vectors * self.lanes)
            spare = self.count(self.lanes - 1 if vectors == 1 else 0)
            strips = builder.sdiv(builder.add(builder.sub(product.width, done), spare), strip)
            with cgutils.for_range(builder, strips) as loop:
                first = self.along(done, loop.index, strip)
                if vectors == 1:
                    self.narrow(builder.sub(product.width, first))
                at = (builder.add(product.c_at, first), builder.add(product.x_at, first))
                self._strip(product._replace(c_at=at[0], x_at=at[1]), heights, vectors)
            done = self.along(done, strips, strip)

    def _strip(self, product: Product, heights: tuple[int, ...], vectors: int) -> None:
        done = self.count(0)
        for height in heights:
            tiles = self.builder.sdiv(self.builder.sub(product.rows, done), self.count(height))
            with cgutils.for_range(self.builder, tiles) as loop:
                first = self.along(done, loop.index, self.count(height))
                c_at = self.along(product.c_at, first, product.c_row)
                a_at = self.along(product.a_at, first, product.a_row)
                self._tile(product._replace(c_at=c_at, a_at=a_at), height, vectors)
            done = self.along(done, tiles, self.count(height))

    def _tile(self, product: Product, height: int, vectors: int) -> None:
        """Load the sums of a tile, or start at zero; add all products; store the sums."""
        builder, (c, a, x) = self.builder, self.arrays
        places = [
            self.place(c, self.along(product.c_at, self.count(m), product.c_row), v)
            for m in range(height)
            for v in range(vectors)
        ]
        sums = [cgutils.alloca_once(builder, self.vector) for _ in places]  # LLVM puts them into registers
        zeros = ir.Constant(self.vector, None)
        for at, place in zip(sums, places, strict=True):
            builder.store(builder.select(self.fresh, zeros, self.load(place)), at)
        with cgutils.for_range(builder, product.segments) as outer:
            a_start = self.along(product.a_at, outer.index, product.a_segment)
            x_start = self.along(product.x_at, outer.index, product.x_segment)
            with cgutils.for_range(builder, product.length) as inner:
                a_at = self.along(a_start, inner.index, product.a_k)
                x_at = self.along(x_start, inner.index, product.x_k)
                xs = [self.load(self.place(x, x_at, v)) for v in range(vectors)]
                for m in range(height):
                    factor = builder.load(builder.gep(a, [self.along(a_at, self.count(m), product.a_row)]))
                    self._add_products(sums[m * vectors : (m + 1) * vectors], self.splat(factor), xs)
                latch = builder.block
            self._keep_rolled(latch)
        for at, place in zip(sums, places, strict=True):
            self.store(builder.load(at), place)

    def _add_products(self, sums: list[Any], factor: Any, xs: list[Any]) -> None:
        for at, x in zip(sums, xs, strict=True):
            value = self.builder.fmul(factor, x, flags=("contract",))
            self.builder.store(self.builder.fadd(self.builder.load(at), value, flags=("contract",)), at)

    def _keep_rolled(self, latch: Any) -> None:
        """Forbid LLVM to unroll a loop that has enough to do already: it would take long and gain nothing."""
        module = self.builder.module
        rule = module.add_metadata([ir.MetaDataString(module, "llvm.loop.unroll.disable")])
        latch.terminator.set_metadata("llvm.loop", module.add_metadata([rule]))


def _multiply(typing_context: Any, fresh: Any, c: Any, a: Any, x: Any, product: Any) -> Any:
    """Add a product of strided matrices: C[m, n] (+)= sum over s, k of A[m, s, k] X[s, k, n].

    Local. To be called in a kernel.

    Parameters
    ----------
    fresh : bool
        Start from zero; else from what C holds.
    c, a, x : float array, of any shape and one dtype
        Taken as their flat memory from the first element on. C is overwritten, and overlaps none of the
        others.
    product : Product
        Which elements.

    Notes
    -----
    Nothing is checked: a wrong number reads or writes foreign memory.
    """
    if not c.dtype == a.dtype == x.dtype:
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        fresh = cgutils.as_bool_bit(builder, arguments[0])
        pointers = data(context, builder, (c, a, x), arguments[1:4])
        code = _ProductCode(context, builder, c.dtype, pointers, fresh)
        code.whole(Product(*numbers(context, builder, product, arguments[4])))
        return context.get_dummy_value()

    return types.void(types.boolean, c, a, x, product), generate


multiply: Any = intrinsic(_multiply)
