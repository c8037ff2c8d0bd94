"""Vectors written out as LLVM instructions: the base of `matmul` and `rows`, and copies and transpositions.

Numba leaves vectors to LLVM's vectorizer, which takes neither sums held over two loops nor short copies. What
is written here compiles for any processor: LLVM splits or masks the vectors as it must.
"""

from typing import Any, NamedTuple

from kernels.deferred import binding, cgutils, intrinsic, ir, types

_LINE_BYTES = 64  # of a cache line


def _vector_bytes() -> int:
    return 64 if binding.get_host_cpu_features().get("avx512f") else 32


class Vectors:
    """Write LLVM code that loads and stores vectors of one type, all lanes of them or the first few."""

    def __init__(self, context: Any, builder: Any, dtype: Any) -> None:
        self.builder = builder
        self.size = dtype.bitwidth // 8
        self.lanes = _vector_bytes() // self.size
        self.vector = ir.VectorType(context.get_value_type(dtype), self.lanes)
        self.mask: Any | None = None  # of the lanes in use, where not all are

    def narrow(self, width: Any) -> None:
        """Use the first `width` lanes alone."""
        index = ir.VectorType(width.type, self.lanes)
        self.mask = self.builder.icmp_signed(
            "<", ir.Constant(index, list(range(self.lanes))), self.splat(width)
        )

    def count(self, n: int) -> Any:
        """Return an integer constant."""
        return ir.Constant(cgutils.intp_t, n)

    def along(self, start: Any, n: Any, stride: Any) -> Any:
        """Return start + n stride."""
        return self.builder.add(start, self.builder.mul(n, stride))

    def splat(self, value: Any) -> Any:
        """Return a vector of one value."""
        first, spread = ir.Constant(ir.IntType(32), 0), ir.VectorType(ir.IntType(32), self.lanes)
        undefined = ir.Constant(ir.VectorType(value.type, self.lanes), ir.Undefined)
        one = self.builder.insert_element(undefined, value, first)
        return self.builder.shuffle_vector(one, undefined, ir.Constant(spread, [0] * self.lanes))

    def place(self, array: Any, at: Any, v: int) -> Any:
        """Return where vector `v` from an element on lies."""
        place = self.builder.gep(array, [self.builder.add(at, self.count(v * self.lanes))])
        return self.builder.bitcast(place, self.vector.as_pointer())

    def load(self, place: Any) -> Any:
        """Load a vector; lanes not in use are 0."""
        if self.mask is None:
            return self.builder.load(place, align=self.size)
        align, zeros = ir.Constant(ir.IntType(32), self.size), ir.Constant(self.vector, None)
        return self._masked("load", self.vector, [place, align, self.mask, zeros])

    def store(self, value: Any, place: Any) -> None:
        """Store the lanes in use."""
        if self.mask is None:
            self.builder.store(value, place, align=self.size)
        else:
            align = ir.Constant(ir.IntType(32), self.size)
            self._masked("store", ir.VoidType(), [value, place, align, self.mask])

    def _masked(self, name: str, result: Any, arguments: list[Any]) -> Any:
        name = f"llvm.masked.{name}.v{self.lanes}f{8 * self.size}.p0"
        signature = ir.FunctionType(result, [value.type for value in arguments])
        return self.builder.call(
            cgutils.get_or_insert_function(self.builder.module, signature, name), arguments
        )

    def copy(self, x: Any, x_at: Any, out: Any, out_at: Any, n: Any) -> None:
        """Copy n elements."""
        builder, lanes = self.builder, self.count(self.lanes)
        whole = builder.sdiv(n, lanes)
        with cgutils.for_range(builder, whole) as loop:
            self._copy_one(x, self.along(x_at, loop.index, lanes), out, self.along(out_at, loop.index, lanes))
        self.narrow(builder.sub(n, builder.mul(whole, lanes)))
        self._copy_one(x, self.along(x_at, whole, lanes), out, self.along(out_at, whole, lanes))
        self.mask = None

    def _copy_one(self, x: Any, x_at: Any, out: Any, out_at: Any) -> None:
        self.store(self.load(self.place(x, x_at, 0)), self.place(out, out_at, 0))

    def prefetch(self, x: Any, at: Any) -> None:
        """Ask for the cache line of an element, to be read once or a few times."""
        pointer, int32 = ir.PointerType(ir.IntType(8)), ir.IntType(32)
        signature = ir.FunctionType(ir.VoidType(), [pointer, int32, int32, int32])
        function = cgutils.get_or_insert_function(self.builder.module, signature, "llvm.prefetch.p0")
        place = self.builder.bitcast(self.builder.gep(x, [at]), pointer)
        self.builder.call(function, [place, *(ir.Constant(int32, n) for n in (0, 3, 1))])

    def transposed(self, rows: list[Any]) -> list[Any]:
        """Return the columns of a square of vectors: blocks of 1, 2, 4, ... lanes change places."""
        lanes, side = range(self.lanes), 1
        while side < self.lanes:
            upper = self._mask([n + self.lanes - side if n & side else n for n in lanes])
            lower = self._mask([n + self.lanes if n & side else n + side for n in lanes])
            for m in lanes:
                if not m & side:
                    pair = rows[m], rows[m + side]
                    rows[m] = self.builder.shuffle_vector(*pair, upper)
                    rows[m + side] = self.builder.shuffle_vector(*pair, lower)
            side *= 2
        return rows

    def _mask(self, order: list[int]) -> Any:
        return ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), order)


def data(context: Any, builder: Any, kinds: Any, values: Any) -> list[Any]:
    """Return the pointers to the first elements of arrays."""
    make = context.make_array
    return [make(kind)(context, builder, value).data for kind, value in zip(kinds, values, strict=True)]


def numbers(context: Any, builder: Any, kind: Any, value: Any) -> list[Any]:
    """Return the elements of a tuple of integers, in the width of a pointer."""
    elements = zip(cgutils.unpack_tuple(builder, value), kind.types, strict=True)
    return [context.cast(builder, element, of, types.intp) for element, of in elements]


class Runs(NamedTuple):
    """Runs of `length` elements to copy, r < count: from x[x_at + r x_step] to out[out_at + r out_step]."""

    x_at: Any
    x_step: Any
    out_at: Any
    out_step: Any
    count: Any
    length: Any


class NextRuns(NamedTuple):
    """Runs of `length` elements that are read soon: run r, 0 <= r < count, begins at x[at + r step]."""

    at: Any
    step: Any
    count: Any
    length: Any


class Square(NamedTuple):
    """A square of elements in two arrays: row m begins at x[x_at + m x_row], at out[out_at + m out_row]."""

    x_at: Any
    x_row: Any
    out_at: Any
    out_row: Any


def _copy_runs(typing_context: Any, x: Any, out: Any, runs: Any) -> Any:
    """Copy `Runs` of elements from one array to another, in a kernel."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vectors = Vectors(context, builder, x.dtype)
        x_data, out_data = data(context, builder, (x, out), arguments[:2])
        of = Runs(*numbers(context, builder, runs, arguments[2]))
        with cgutils.for_range(builder, of.count) as loop:
            x_run = vectors.along(of.x_at, loop.index, of.x_step)
            out_run = vectors.along(of.out_at, loop.index, of.out_step)
            vectors.copy(x_data, x_run, out_data, out_run, of.length)
        return context.get_dummy_value()

    return types.void(x, out, runs), generate


def _prefetch_runs(typing_context: Any, x: Any, runs: Any) -> Any:
    """Ask for `NextRuns` of elements to be brought near, in a kernel. They need not exist."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vectors, (x_data,) = Vectors(context, builder, x.dtype), data(context, builder, (x,), arguments[:1])
        of = NextRuns(*numbers(context, builder, runs, arguments[1]))
        line = vectors.count(_LINE_BYTES // vectors.size)
        lines = builder.add(builder.sdiv(of.length, line), vectors.count(1))  # a run may begin within a line
        with cgutils.for_range(builder, of.count) as outer:
            run = vectors.along(of.at, outer.index, of.step)
            with cgutils.for_range(builder, lines) as inner:
                vectors.prefetch(x_data, vectors.along(run, inner.index, line))
        return context.get_dummy_value()

    return types.void(x, runs), generate


def _transpose_square(typing_context: Any, x: Any, out: Any, square: Any) -> Any:
    """Transpose a `Square` of `lanes(x)` elements a side, in a kernel."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vectors = Vectors(context, builder, x.dtype)
        x_data, out_data = data(context, builder, (x, out), arguments[:2])
        of = Square(*numbers(context, builder, square, arguments[2]))
        lanes = [vectors.count(m) for m in range(vectors.lanes)]
        rows = [vectors.load(vectors.place(x_data, vectors.along(of.x_at, m, of.x_row), 0)) for m in lanes]
        for m, column in zip(lanes, vectors.transposed(rows), strict=True):
            vectors.store(column, vectors.place(out_data, vectors.along(of.out_at, m, of.out_row), 0))
        return context.get_dummy_value()

    return types.void(x, out, square), generate


def _lanes(typing_context: Any, x: Any) -> Any:
    """Return how many elements of an array fill a vector, in a kernel."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return context.get_constant(types.intp, Vectors(context, builder, x.dtype).lanes)

    return types.intp(x), generate


lanes: Any = intrinsic(_lanes)
prefetch_runs: Any = intrinsic(_prefetch_runs)
copy_runs: Any = intrinsic(_copy_runs)
transpose_square: Any = intrinsic(_transpose_square)
