"""The entry of a kernel: what Python calls, written in LLVM code beside it. It needs Numba.

It takes arguments of the kernel's types only, told by their types, dtypes and flags, so that no dispatcher is
wanted. It returns NotImplemented for others, and where the kernel raises, which kernels do before they write:
Numba then says why. It reads arrays and dtypes where NumPy keeps their fields, `struct PyArrayObject` and
`struct PyArray_Descr`, which are part of NumPy's binary interface.
"""

import ctypes
from typing import Any

import numpy as np

from kernels.deferred import arrayobj, binding, cgutils, ir, types
from kernels.image.link import Unsupported

NAME = "dbmpi_entry"
_TYPE_AT, _VALUE_AT = 8, 16  # in any object; in a float, or a scalar of NumPy
_DATA_AT, _NDIM_AT, _SHAPE_AT, _STRIDES_AT, _DTYPE_AT, _FLAGS_AT = 16, 24, 32, 40, 56, 64
_KIND_AT = 24  # in a dtype: kind, type, order of bytes and number of the type, 8 bytes together
_C_ORDER, _F_ORDER, _ALIGNED, _WRITABLE = 0x1, 0x2, 0x100, 0x400
_TUPLE_SIZE_AT, _TUPLE_AT = 16, 24


class _Entry:
    """Writes the function `PyObject *entry(PyObject *self, PyObject **arguments, Py_ssize_t count)`."""

    def __init__(self, compiled: Any) -> None:
        self.compiled, self.context = compiled, compiled.target_context
        self.module = self.context.codegen()._create_empty_module(NAME)
        self.object, self.word, self.int32 = ir.IntType(8).as_pointer(), ir.IntType(64), ir.IntType(32)
        kind = ir.FunctionType(self.object, [self.object, self.object.as_pointer(), self.word])
        self.function = ir.Function(self.module, kind, NAME)
        self.builder = ir.IRBuilder(self.function.append_basic_block())
        self.other = self.function.append_basic_block("other")

    def write(self) -> Any:
        """Write the whole function; return its module."""
        builder, signature = self.builder, self.compiled.signature
        _, given, count = self.function.args
        self.demand(builder.icmp_unsigned("==", count, self.word(len(signature.args))))
        values = [
            self.unbox(kind, builder.load(builder.gep(given, [self.word(n)])))
            for n, kind in enumerate(signature.args)
        ]
        saved = self.call("PyEval_SaveThread", self.object)
        status, result = self.context.call_conv.call_function(
            builder, self.kernel(), signature.return_type, signature.args, values
        )
        self.call("PyEval_RestoreThread", ir.VoidType(), saved)
        self.demand(builder.not_(status.is_error))
        builder.ret(self.box(signature.return_type, result))
        builder.position_at_end(self.other)
        builder.ret(self.counted("_Py_NotImplementedStruct"))
        return self.module

    def kernel(self) -> Any:
        """Return the compiled function."""
        signature, name = self.compiled.signature, self.compiled.fndesc.llvm_func_name
        kind = self.context.call_conv.get_function_type(signature.return_type, signature.args)
        return cgutils.get_or_insert_function(self.module, kind, name)

    def demand(self, condition: Any) -> None:
        """Go on where a condition holds; else the arguments are others."""
        then = self.function.append_basic_block()
        self.builder.cbranch(condition, then, self.other)
        self.builder.position_at_end(then)

    def address(self, name: str) -> Any:
        """Return the address of a symbol of the process, as a pointer to an object."""
        known = self.module.globals.get(name)
        return known or cgutils.add_global_variable(self.module, ir.IntType(8), name)

    def call(self, name: str, result: Any, *arguments: Any) -> Any:
        """Call a function of the process."""
        kind = ir.FunctionType(result, [value.type for value in arguments])
        return self.builder.call(cgutils.get_or_insert_function(self.module, kind, name), arguments)

    def field(self, value: Any, at: int, kind: Any) -> Any:
        """Load what lies `at` bytes from the start of an object."""
        place = self.builder.gep(value, [self.word(at)])
        return self.builder.load(self.builder.bitcast(place, kind.as_pointer()))

    def same(self, one: Any, name: str) -> Any:
        """Return whether a pointer is the address of a symbol."""
        return self.builder.icmp_unsigned("==", one, self.address(name))

    def counted(self, name: str) -> Any:
        """Return a new reference to an object of Python's own."""
        value = self.address(name)
        self.call("Py_IncRef", ir.VoidType(), value)
        return value

    def unbox(self, kind: Any, value: Any) -> Any:
        """Return an argument as Numba has it; leave for `other` where it is of another type."""
        if isinstance(kind, types.Array):
            return self.array(kind, value)
        if isinstance(kind, types.BaseTuple):
            return self.tuple(kind, value)
        if kind == types.boolean:
            true = self.same(value, "_Py_TrueStruct")
            self.demand(self.builder.or_(true, self.same(value, "_Py_FalseStruct")))
            return (
                self.builder.zext(true, self.context.get_value_type(kind))
                if (self.context.get_value_type(kind) != ir.IntType(1))
                else true
            )
        if kind == types.float64:
            mine = self.field(value, _TYPE_AT, self.object)
            either = self.builder.or_(self.same(mine, "PyFloat_Type"), self.same(mine, "numpy.float64"))
            self.demand(either)
            return self.field(value, _VALUE_AT, ir.DoubleType())
        if kind == types.int64:
            return self.integer(value)
        if isinstance(kind, types.Number):
            self.demand(self.same(self.field(value, _TYPE_AT, self.object), f"numpy.{kind}"))
            return self.field(value, _VALUE_AT, self.context.get_value_type(kind))
        raise Unsupported(f"an argument of type {kind}")

    def integer(self, value: Any) -> Any:
        """Return a Python integer, or one of NumPy's."""
        builder, mine = self.builder, self.field(value, _TYPE_AT, self.object)
        native = self.same(mine, "PyLong_Type")
        self.demand(builder.or_(native, self.same(mine, "numpy.int64")))
        result = cgutils.alloca_once(builder, self.word)
        with builder.if_else(native) as (python, numpy):
            with python:
                overflow = cgutils.alloca_once_value(builder, self.int32(0))
                found = self.call("PyLong_AsLongLongAndOverflow", self.word, value, overflow)
                self.demand(builder.icmp_unsigned("==", builder.load(overflow), self.int32(0)))
                builder.store(found, result)
            with numpy:
                builder.store(self.field(value, _VALUE_AT, self.word), result)
        return builder.load(result)

    def tuple(self, kind: Any, value: Any) -> Any:
        """Return a plain tuple."""
        if isinstance(kind, types.BaseNamedTuple):
            raise Unsupported(f"an argument of type {kind}")
        self.demand(self.same(self.field(value, _TYPE_AT, self.object), "PyTuple_Type"))
        size = self.field(value, _TUPLE_SIZE_AT, self.word)
        self.demand(self.builder.icmp_unsigned("==", size, self.word(len(kind))))
        items = [
            self.unbox(of, self.field(value, _TUPLE_AT + 8 * n, self.object)) for n, of in enumerate(kind)
        ]
        return self.context.make_tuple(self.builder, kind, items)

    def array(self, kind: Any, value: Any) -> Any:
        """Return an array without an owner: the caller's lives longer than the call."""
        builder = self.builder
        if not isinstance(kind.dtype, types.Number) or type(kind) is not types.Array:
            raise Unsupported(f"an array of {kind}")
        self.demand(self.same(self.field(value, _TYPE_AT, self.object), "numpy.ndarray"))
        dtype = self.field(value, _DTYPE_AT, self.object)
        mark = int.from_bytes(ctypes.string_at(id(np.dtype(str(kind.dtype))) + _KIND_AT, 8), "little")
        self.demand(builder.icmp_unsigned("==", self.field(dtype, _KIND_AT, self.word), self.word(mark)))
        self.demand(
            builder.icmp_unsigned("==", self.field(value, _NDIM_AT, self.int32), self.int32(kind.ndim))
        )
        self.check_flags(kind, self.field(value, _FLAGS_AT, self.int32))
        data_type = self.context.get_data_type(kind.dtype)
        out = arrayobj.make_array(kind)(self.context, builder)
        itemsize = self.context.get_abi_sizeof(data_type)
        shape, strides = (self.field(value, at, self.word.as_pointer()) for at in (_SHAPE_AT, _STRIDES_AT))
        arrayobj.populate_array(
            out,
            data=builder.bitcast(self.field(value, _DATA_AT, self.object), data_type.as_pointer()),
            shape=[builder.load(builder.gep(shape, [self.word(n)])) for n in range(kind.ndim)],
            strides=[builder.load(builder.gep(strides, [self.word(n)])) for n in range(kind.ndim)],
            itemsize=self.word(itemsize),
            meminfo=None,
        )
        return out._getvalue()

    def check_flags(self, kind: Any, flags: Any) -> None:
        """Demand the order in memory that Numba calls C, F or, where it is neither, A."""
        order = {"C": _C_ORDER, "F": _F_ORDER, "A": 0}[kind.layout]
        wanted = order | (_ALIGNED if kind.aligned else 0) | (_WRITABLE if kind.mutable else 0)
        looked_at = wanted | (_C_ORDER if kind.layout != "C" else 0) | (_F_ORDER if kind.layout == "A" else 0)
        found = self.builder.and_(flags, self.int32(looked_at))
        self.demand(self.builder.icmp_unsigned("==", found, self.int32(wanted)))

    def box(self, kind: Any, value: Any) -> Any:
        """Return the result as an object."""
        if kind == types.none:
            return self.counted("_Py_NoneStruct")
        if kind == types.float64:
            return self.call("PyFloat_FromDouble", self.object, value)
        if kind == types.int64:
            return self.call("PyLong_FromLongLong", self.object, value)
        if kind == types.boolean:
            return self.call("PyBool_FromLong", self.object, self.builder.zext(value, self.word))
        raise Unsupported(f"a result of type {kind}")


def object_code(compiled: Any) -> list[bytes]:
    """Return the object files of a compiled kernel, of its entry, and of what counts references to arrays.

    Raises
    ------
    Unsupported
        For types that an entry does not know.
    """
    from numba.core.runtime import nrtdynmod

    codegen = compiled.target_context.codegen()
    entry = _Entry(compiled).write()
    counting, _ = nrtdynmod.create_nrt_module(compiled.target_context)
    made = [binding.parse_assembly(str(module)) for module in (entry, counting)]
    for module in made:
        module.verify()
    return [codegen._tm.emit_object(module) for module in (compiled.library._final_module, *made)]
