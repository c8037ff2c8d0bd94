"""Words of memory that threads share, and calls, by address: what `team` is made of.

To be called in kernels. Addresses and values are int64. Every operation is sequentially consistent.
"""

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

TEAM = "dbmpi_team"
STACK_WORDS = 256

_WORD = ir.IntType(64)
_POINTER = ir.IntType(8).as_pointer()
_ORDER = "seq_cst"
# What tells a processor that a loop only waits, by how LLVM's name of the machine begins.
_PAUSES = {"x86_64": ("llvm.x86.sse2.pause", ()), "aarch64": ("llvm.aarch64.hint", (1,))}


def _place(builder: ir.IRBuilder, address: ir.Value) -> ir.Value:
    return builder.inttoptr(address, _WORD.as_pointer())


def _team(typing_context: Any) -> Any:
    """Return the address of the memory that `kernels.threads.team` gave LLVM under this name."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        module = builder.module
        if TEAM not in module.globals:
            ir.GlobalVariable(module, _WORD, TEAM).linkage = "external"
        return builder.ptrtoint(module.get_global(TEAM), _WORD)

    return types.int64(), generate


def _stack(typing_context: Any) -> Any:
    """Return the address of `STACK_WORDS` words of the calling function's stack."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        words = cgutils.alloca_once(builder, ir.ArrayType(_WORD, STACK_WORDS))
        return builder.ptrtoint(words, _WORD)

    return types.int64(), generate


def _load(typing_context: Any, address: Any) -> Any:
    """Return the word at an address."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        return builder.load_atomic(_place(builder, arguments[0]), _ORDER, 8)

    return types.int64(types.int64), generate


def _store(typing_context: Any, address: Any, value: Any) -> Any:
    """Overwrite the word at an address."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        builder.store_atomic(arguments[1], _place(builder, arguments[0]), _ORDER, 8)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


def _swap(typing_context: Any, address: Any, value: Any) -> Any:
    """Overwrite the word at an address; return what it was."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        return builder.atomic_rmw("xchg", _place(builder, arguments[0]), arguments[1], _ORDER)

    return types.int64(types.int64, types.int64), generate


def _add(typing_context: Any, address: Any, value: Any) -> Any:
    """Add to the word at an address; return what it was."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        return builder.atomic_rmw("add", _place(builder, arguments[0]), arguments[1], _ORDER)

    return types.int64(types.int64, types.int64), generate


def _replace(typing_context: Any, address: Any, expected: Any, value: Any) -> Any:
    """Overwrite the word at an address if it is `expected`; return whether it was."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        place = _place(builder, arguments[0])
        pair = builder.cmpxchg(place, arguments[1], arguments[2], _ORDER, _ORDER)
        return builder.extract_value(pair, 1)

    return types.boolean(types.int64, types.int64, types.int64), generate


def _pause(typing_context: Any) -> Any:
    """Tell the processor that a loop only waits."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        machine = str(builder.module.triple).partition("-")[0]
        if machine in _PAUSES:
            name, numbers = _PAUSES[machine]
            values = [ir.IntType(32)(number) for number in numbers]
            kind = ir.FunctionType(ir.VoidType(), [value.type for value in values])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, name), values)
        return context.get_dummy_value()

    return types.void(), generate


def _call(typing_context: Any, function: Any, args: Any, dims: Any, steps: Any, data: Any) -> Any:
    """Call the function at an address with four addresses, as NumPy calls the loop of a ufunc."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        kind = ir.FunctionType(ir.VoidType(), [_POINTER] * 4)
        pointers = [builder.inttoptr(value, _POINTER) for value in arguments[1:]]
        builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), pointers)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 5), generate


team: Any = intrinsic(_team)
stack: Any = intrinsic(_stack)
load: Any = intrinsic(_load)
store: Any = intrinsic(_store)
swap: Any = intrinsic(_swap)
add: Any = intrinsic(_add)
replace: Any = intrinsic(_replace)
pause: Any = intrinsic(_pause)
call: Any = intrinsic(_call)
